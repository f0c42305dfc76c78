//! What an inverter says that is odd, though it arrives whole (section 8 of the protocol notes), each with a
//! probability of its own. At most one strikes an answer.

use super::encode::Figures;

/// One odd thing in running data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quirk {
    /// Load and grid are both 0 W for a moment: 0.6 % of a KSE's answers.
    ZeroMeter,
    /// The state of charge of a bank without management falls to a tenth.
    SocJump,
    /// Voltage without a current, as at dawn and dusk.
    PvGhost,
    /// The day's counters begin anew 40 s before midnight, as the inverter's clock is ahead.
    EarlyReset,
    /// The lifetime counter is lower than before.
    CounterFall,
    /// The lifetime counter has jumped.
    CounterJump,
    /// All fields are one byte late, with a right checksum.
    WrongOffsets,
    /// A single value that no machine has.
    WildValue,
    /// Voltages, currents and temperature are missing: all bits set, but for the sign of the temperature.
    Missing,
    /// The strings' modes are 0 while they produce.
    PvModeZero,
    /// Load and inverter power below zero, while the battery charges from AC.
    Negative,
    /// The clock is hours off.
    ClockOff,
    /// A Modbus exception in place of the answer.
    Modbus,
    /// Two bytes of the serial number are swapped, in device info. The checksum is the same.
    SwappedSerial,
}

impl Quirk {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::ZeroMeter,
        Self::SocJump,
        Self::PvGhost,
        Self::EarlyReset,
        Self::CounterFall,
        Self::CounterJump,
        Self::WrongOffsets,
        Self::WildValue,
        Self::Missing,
        Self::PvModeZero,
        Self::Negative,
        Self::ClockOff,
        Self::Modbus,
        Self::SwappedSerial,
    ];

    /// What it is called in a list.
    pub fn name(self) -> &'static str {
        match self {
            Self::ZeroMeter => "zero_meter",
            Self::SocJump => "soc_jump",
            Self::PvGhost => "pv_ghost",
            Self::EarlyReset => "early_reset",
            Self::CounterFall => "counter_fall",
            Self::CounterJump => "counter_jump",
            Self::WrongOffsets => "wrong_offsets",
            Self::WildValue => "wild_value",
            Self::Missing => "missing",
            Self::PvModeZero => "pv_mode_zero",
            Self::Negative => "negative",
            Self::ClockOff => "clock_off",
            Self::Modbus => "modbus",
            Self::SwappedSerial => "swapped_serial",
        }
    }

    /// Changes what the inverter says at this second of its day.
    pub(super) fn change(self, figures: &mut Figures, second_of_day: f64) {
        const MISSING: u16 = u16::MAX;
        match self {
            Self::ZeroMeter => {
                figures.pload = 0;
                figures.pgrid = 0;
                figures.grid_in_out = 0;
            }
            Self::SocJump => figures.battery_soc /= 10,
            Self::PvGhost => {
                (figures.vpv1, figures.vpv2) = (1200, 990);
                (figures.ipv1, figures.ipv2) = (0, 0);
            }
            Self::EarlyReset => {
                if second_of_day >= 86_360.0 {
                    (figures.e_day, figures.e_load_day) = (0, 0);
                }
            }
            Self::CounterFall => figures.e_total /= 2,
            Self::CounterJump => figures.e_total += 5000,
            Self::WildValue => figures.vbattery1 = 4100,
            Self::Missing => {
                (figures.vpv1, figures.ipv1) = (MISSING, MISSING);
                (figures.vpv2, figures.ipv2) = (MISSING, MISSING);
                figures.vgrid = MISSING;
                figures.temperature = i16::MAX;
            }
            Self::PvModeZero => (figures.pv1_mode, figures.pv2_mode) = (0, 0),
            Self::Negative => (figures.pload, figures.total_power) = (-278, -278),
            Self::ClockOff => {
                let [_, _, _, hour, _, _] = &mut figures.clock;
                *hour = (*hour + 9) % 24;
            }
            // These are seen to when the frame is made.
            Self::WrongOffsets | Self::Modbus | Self::SwappedSerial => {}
        }
    }
}

/// A reply that only Modbus knows, as it was seen on this port.
pub(super) const MODBUS_EXCEPTION: [u8; 7] = [0xAA, 0x55, 0xF7, 0x83, 0x02, 0x20, 0xC3];

/// Which quirks there are, and how often they strike.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quirks(Vec<(Quirk, f64)>);

/// Why a list of quirks is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` is no quirk with a probability from 0 to 1; write, for example, zero_meter=0.006. There are {names}", names = Quirk::ALL.map(Quirk::name).join(", "))]
pub struct QuirksError {
    /// What cannot be read.
    pub entry: String,
}

impl Quirks {
    /// One quirk, always or as often as that.
    pub fn of(quirk: Quirk, probability: f64) -> Self {
        Self(vec![(quirk, probability)])
    }

    /// Reads a list like `zero_meter=0.006,soc_jump=0.01`.
    pub fn parse(text: &str) -> Result<Self, QuirksError> {
        let entries = text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        let parse = |entry: &str| {
            let (name, probability) = entry.split_once('=')?;
            let quirk = Quirk::ALL
                .into_iter()
                .find(|quirk| quirk.name() == name.trim())?;
            let probability: f64 = probability.trim().parse().ok()?;
            (0.0..=1.0)
                .contains(&probability)
                .then_some((quirk, probability))
        };
        let quirks = entries.map(|entry| {
            parse(entry).ok_or_else(|| QuirksError {
                entry: entry.to_owned(),
            })
        });
        quirks.collect::<Result<_, _>>().map(Self)
    }

    /// The quirk that strikes the next answer, if any. Without quirks no number is taken from the sequence.
    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> Option<Quirk> {
        self.0
            .iter()
            .find(|(_, probability)| random.f64() < *probability)
            .map(|(quirk, _)| *quirk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_a_wrong_one_is_told_how_to_be_right() {
        for quirk in Quirk::ALL {
            let parsed = Quirks::parse(&format!(" {}=0.25, ", quirk.name()));
            assert_eq!(parsed, Ok(Quirks::of(quirk, 0.25)));
        }
        assert_eq!(Quirks::parse(""), Ok(Quirks::default()));
        for wrong in ["zero", "zero_meter", "zero_meter=2", "zero_meter=x", "=1"] {
            let error = Quirks::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("zero_meter=0.006"), "{error}");
        }
    }

    #[test]
    fn a_quirk_strikes_as_often_as_it_should() {
        let quirks = Quirks::of(Quirk::SocJump, 0.1);
        let mut random = fastrand::Rng::with_seed(1);
        let struck = (0..10_000).filter(|_| quirks.draw(&mut random).is_some());
        assert!((850..1150).contains(&struck.count()));
    }
}
