//! The inverter that is played: of any family, in its past without a network and then on the network.

use std::io;
use std::net::SocketAddr;

use clap::ValueEnum as _;
use jiff::civil::{Date, DateTime};
use kstar_simulator::day::{Household, STEP_SECONDS};
use kstar_simulator::modbus;
use kstar_simulator::modbus::config::Family;
use kstar_simulator::modbus::house::House;

use crate::cli::shared::failure::Failure;
use crate::cli::simulate::FamilyName;
use crate::registry;

/// Decides about weather and habits.
const SEED: u64 = 1;

/// The machine, with the house that it stands in.
pub(super) enum Machine {
    Aa55(Box<kstar_simulator::Config>, Box<Household>),
    Modbus(Box<modbus::config::Config>, Box<House>),
}

impl Machine {
    /// Of a family, new on its first day.
    pub(super) fn new(family: registry::Family, first_day: Date) -> Result<Self, Failure> {
        let name = FamilyName::from_str(family.name(), false).map_err(Failure::Usage)?;
        Ok(match name.modbus() {
            None => {
                let config = of_kse();
                let household = Household::new(config.seed, config.variant, first_day);
                Self::Aa55(Box::new(config), Box::new(household.with_seasons()))
            }
            Some(family) => {
                let config = of_family(family);
                let house = House::new(config.plant.clone(), config.seed, first_day);
                Self::Modbus(Box::new(config), Box::new(house.with_seasons()))
            }
        })
    }

    /// Starts it on the network, at this time of its clock.
    pub(super) async fn start(self, begins: DateTime, speed: f64) -> io::Result<Running> {
        Ok(match self {
            Self::Aa55(mut config, mut household) => {
                (config.begins, config.speed) = (begins, speed);
                household.step_by(STEP_SECONDS);
                config.household = Some(*household);
                Running::Aa55(kstar_simulator::start(*config).await?)
            }
            Self::Modbus(mut config, mut house) => {
                (config.begins, config.speed) = (begins, speed);
                house.step_by(STEP_SECONDS);
                config.house = Some(*house);
                Running::Modbus(Box::new(modbus::start(*config).await?))
            }
        })
    }
}

/// The serial numbers of all that a demonstration plays.
#[cfg(feature = "history")]
pub(super) fn serials() -> Vec<String> {
    let modbus = Family::ALL.map(|family| of_family(family).serial);
    let kse = [of_kse().serial];
    kse.into_iter().chain(modbus).collect()
}

fn of_kse() -> kstar_simulator::Config {
    kstar_simulator::Config {
        discovery: None,
        ..kstar_simulator::Config::new(SEED)
    }
}

fn of_family(family: Family) -> modbus::config::Config {
    modbus::config::Config {
        discovery: None,
        ..modbus::config::Config::new(family, SEED)
    }
}

/// The machine on the network.
pub(super) enum Running {
    Aa55(kstar_simulator::Running),
    Modbus(Box<modbus::Running>),
}

impl Running {
    /// Where it answers.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Aa55(running) => running.data_address(),
            Self::Modbus(running) => running.data_address(),
        }
    }

    pub(super) async fn stop(self) {
        match self {
            Self::Aa55(running) => drop(running.stop().await),
            Self::Modbus(running) => drop(running.stop().await),
        }
    }
}

#[cfg(feature = "history")]
pub(super) use told::Told;

/// What it would have answered in its past.
#[cfg(feature = "history")]
mod told {
    use std::sync::Arc;

    use kstar_model::catalogue::Values;
    use kstar_model::reading::Inverter;
    use kstar_source::explain::RecordedReply;
    use kstar_source::source::{AnySource, Block};

    use kstar_simulator::encode::running;
    use kstar_simulator::modbus::families::{self, blocks};

    use super::Machine;

    /// What reads a machine without a network.
    pub(in crate::cli::demo) struct Told {
        source: AnySource,
        blocks: Vec<Block>,
    }

    impl Told {
        pub(in crate::cli::demo) fn new(source: AnySource) -> Self {
            let blocks = source.blocks();
            Self { source, blocks }
        }

        /// What a reading holds at this many seconds after the machine's first midnight, with these bits of its errors;
        /// nothing while it is off.
        pub(in crate::cli::demo) fn values(
            &self,
            machine: &mut Machine,
            seconds: f64,
            errors: u32,
        ) -> Option<Values> {
            let replies: Vec<RecordedReply> = match machine {
                Machine::Aa55(config, household) => {
                    let mut figures = household.at(seconds);
                    figures.error_codes = errors;
                    let payload = running(&figures, config.variant.payload_len());
                    let first = self.blocks.first().into_iter();
                    first
                        .map(|block| recorded(block, Some(payload.clone())))
                        .collect()
                }
                Machine::Modbus(config, house) => {
                    let moment = house.at(seconds);
                    if config.off_at_night && !moment.is_day() {
                        return None;
                    }
                    let all = blocks(config, &moment);
                    let reply = |block: &Block| recorded(block, registers(&all, &block.request));
                    self.blocks.iter().map(reply).collect()
                }
            };
            self.source.decode(&replies)
        }
    }

    fn recorded(block: &Block, reply: Option<Vec<u8>>) -> RecordedReply {
        RecordedReply {
            block: block.name.to_owned(),
            request: block.request.clone(),
            reply,
        }
    }

    /// The reply to a request for registers, if all of them are there.
    fn registers(all: &[families::Block], request: &[u8]) -> Option<Vec<u8>> {
        let &[unit, function, first_high, first_low, count_high, count_low] = request else {
            return None;
        };
        let first = u16::from_be_bytes([first_high, first_low]);
        let count = u16::from_be_bytes([count_high, count_low]);
        let words = all
            .iter()
            .filter(|block| block.function == function)
            .find_map(|block| block.range(first, count))?;
        let mut reply = vec![unit, function, u8::try_from(2 * count).ok()?];
        reply.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        Some(reply)
    }

    impl Machine {
        /// Who it is, under this name.
        pub(in crate::cli::demo) fn identity(&self, name: &str) -> Arc<Inverter> {
            let (serial, model) = match self {
                Self::Aa55(config, _) => (&config.serial, &config.model),
                Self::Modbus(config, _) => (&config.serial, &config.model),
            };
            Arc::new(Inverter {
                name: name.into(),
                serial: Some(serial.as_str().into()),
                model: Some(model.as_str().into()),
            })
        }

        /// How many seconds after its first midnight its clock says this.
        pub(in crate::cli::demo) fn seconds_at(&self, clock: jiff::civil::DateTime) -> f64 {
            match self {
                Self::Aa55(_, household) => household.seconds_at(clock),
                Self::Modbus(_, house) => house.seconds_at(clock),
            }
        }

        /// Goes on in steps of so many seconds.
        pub(in crate::cli::demo) fn step_by(&mut self, step: u64) {
            match self {
                Self::Aa55(_, household) => household.step_by(step),
                Self::Modbus(_, house) => house.step_by(step),
            }
        }
    }
}
