//! A Modbus machine without what is around it: registers go out for a read, or the code of an exception.

use tokio::time::Instant;

use super::config::{Config, Family};
use super::energies::Energies;
use super::families::{Block, blocks};
use super::house::{House, Moment};
use super::record::Read;
use crate::surroundings::seconds_since;

/// A function that the machine does not have.
pub(super) const ILLEGAL_FUNCTION: u8 = 1;
/// A register that it does not have.
pub(super) const ILLEGAL_ADDRESS: u8 = 2;
/// A number of registers that cannot be.
pub(super) const ILLEGAL_VALUE: u8 = 3;

const MOST_REGISTERS: u16 = 125;

pub(super) struct Machine {
    config: Config,
    house: House,
    /// Whose registers come in foreign replies.
    neighbour: House,
    began: Instant,
}

impl Machine {
    pub(super) fn new(config: Config, began: Instant) -> Self {
        Self {
            house: house(&config, config.seed),
            neighbour: house(&config, config.seed ^ 0x5EED_0F05),
            config,
            began,
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Simulated seconds since the first midnight.
    fn seconds(&self, now: Instant) -> f64 {
        seconds_at(&self.config, self.began, now)
    }

    /// Keeps up with time while nobody asks, so that no request has to wait for days to be simulated.
    pub(super) fn keep_up(&mut self, now: Instant) {
        let seconds = self.seconds(now);
        self.house.advance_to(seconds);
        self.neighbour.advance_to(seconds);
    }

    pub(super) fn moment(&mut self, now: Instant) -> Moment {
        let seconds = self.seconds(now);
        self.house.at(seconds)
    }

    /// Whether it is off for want of sun.
    pub(super) fn is_off(&mut self, now: Instant) -> bool {
        self.config.off_at_night && !self.moment(now).is_day()
    }

    /// What a read is answered with.
    pub(super) fn read(&mut self, read: Read, now: Instant) -> Result<Vec<u16>, u8> {
        if let Some(playback) = &mut self.config.playback {
            return playback.next(read);
        }
        if read.function == super::families::INPUT && self.config.family != Family::KstarHybrid {
            return Err(ILLEGAL_FUNCTION);
        }
        if !(1..=MOST_REGISTERS).contains(&read.count) {
            return Err(ILLEGAL_VALUE);
        }
        let moment = self.moment(now);
        let all = blocks(&self.config, &moment);
        find(&all, read).ok_or(ILLEGAL_ADDRESS)
    }

    /// The same registers of the neighbour.
    pub(super) fn read_neighbour(&mut self, read: Read, now: Instant) -> Option<Vec<u16>> {
        let seconds = self.seconds(now);
        let moment = self.neighbour.at(seconds);
        let mut words = find(&blocks(&self.config, &moment), read)?;
        // A block that is always the same must differ too.
        let same = self.read(read, now).is_ok_and(|right| right == words);
        if let Some(last) = words.last_mut().filter(|_| same) {
            *last ^= 0x0101;
        }
        Some(words)
    }

    /// Another block with as many registers: over UDP nothing else tells it from the right one.
    pub(super) fn other_block(&mut self, read: Read, now: Instant) -> Vec<u16> {
        let moment = self.moment(now);
        let all = blocks(&self.config, &moment);
        let other = all
            .iter()
            .filter(|block| block.function == read.function && block.get(read.first).is_none())
            .max_by_key(|block| block.words.len());
        let words = other.map(|block| block.words.as_slice());
        let words = words.unwrap_or_default().iter().copied();
        let count = usize::from(read.count);
        words.chain(std::iter::repeat(0)).take(count).collect()
    }
}

/// The true energies of a machine's house since its first midnight.
pub(super) fn energies_at(config: &Config, began: Instant, at: Instant) -> Energies {
    let seconds = seconds_at(config, began, at);
    house(config, config.seed).at(seconds).energies
}

/// The house that it goes on with; a neighbour's is the same then, and its replies differ all the same.
fn house(config: &Config, seed: u64) -> House {
    let new = || House::new(config.plant.clone(), seed, config.begins.date());
    config.house.clone().unwrap_or_else(new)
}

pub(super) fn seconds_at(config: &Config, began: Instant, at: Instant) -> f64 {
    let begins = match &config.house {
        Some(house) => house.seconds_at(config.begins),
        None => seconds_since(config.begins.date(), config.begins),
    };
    begins + config.speed * at.saturating_duration_since(began).as_secs_f64()
}

fn find(all: &[Block], read: Read) -> Option<Vec<u16>> {
    all.iter()
        .filter(|block| block.function == read.function)
        .find_map(|block| block.range(read.first, read.count))
        .map(<[u16]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::super::config::Meter;
    use super::*;

    fn frozen(family: Family) -> Config {
        Config {
            speed: 0.0,
            ..Config::new(family, 1)
        }
    }

    fn answers(config: Config, asked: &[(u8, u16, u16)]) -> Vec<Result<usize, u8>> {
        let now = Instant::now();
        let mut machine = Machine::new(config, now);
        let answer = |&(function, first, count)| {
            let read = Read {
                function,
                first,
                count,
            };
            machine.read(read, now).map(|words| words.len())
        };
        asked.iter().map(answer).collect()
    }

    #[test]
    fn a_kstar_has_two_spaces_and_nothing_beside_them() {
        let asked = [
            (4, 3000, 125),
            (4, 3125, 29),
            (4, 3292, 10),
            (3, 3200, 18),
            (4, 3228, 11),
            (4, 3193, 1),
            (4, 3450, 1),
            (3, 3000, 125),
            (4, 2999, 2),
            (4, 3000, 126),
            (4, 3000, 0),
        ];
        let [address, value] = [ILLEGAL_ADDRESS, ILLEGAL_VALUE].map(Err);
        assert_eq!(
            answers(frozen(Family::KstarHybrid), &asked),
            [
                Ok(125),
                Ok(29),
                Ok(10),
                Ok(18),
                Ok(11),
                Ok(1),
                address,
                address,
                address,
                value,
                value
            ]
        );
    }

    #[test]
    fn an_et_has_a_meter_of_one_length() {
        let asked = [(3, 36000, 125), (3, 36000, 58), (3, 36000, 45)];
        for (meter, answer) in [
            (Meter::Registers45, [Err(2), Err(2), Ok(45)]),
            (Meter::Registers58, [Err(2), Ok(58), Ok(45)]),
            (Meter::Registers125, [Ok(125), Ok(58), Ok(45)]),
        ] {
            let mut config = frozen(Family::GoodweEt);
            config.plant.meter = meter;
            assert_eq!(answers(config, &asked), answer);
        }
        let input = answers(frozen(Family::GoodweEt), &[(4, 35100, 125)]);
        assert_eq!(input, [Err(ILLEGAL_FUNCTION)]);
    }

    #[test]
    fn a_foreign_reply_is_as_long_and_never_the_same() {
        let now = Instant::now();
        for (family, function, first, count) in [
            (Family::KstarHybrid, 4, 3000, 125),
            (Family::KstarHybrid, 4, 3193, 1),
            (Family::GoodweEt, 3, 35100, 125),
            (Family::GoodweEt, 3, 36000, 45),
            (Family::GoodweDt, 3, 30100, 73),
        ] {
            let mut machine = Machine::new(frozen(family), now);
            let read = Read {
                function,
                first,
                count,
            };
            let right = machine.read(read, now).expect("registers");
            let neighbour = machine.read_neighbour(read, now).expect("registers");
            let other = machine.other_block(read, now);
            for foreign in [neighbour, other] {
                assert_eq!(foreign.len(), right.len());
                assert_ne!(foreign, right, "{first}");
            }
        }
    }
}
