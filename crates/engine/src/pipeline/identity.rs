//! Who an inverter is, as far as one may believe it: the checksum of a reply is a plain sum, which does not see two
//! swapped bytes, and a serial number decides whose energy counters go on.

use kstar_model::reading::Inverter;

/// So many exchanges in a row must tell the same before it counts against what is known.
const AGREEING: u32 = 3;

/// What an inverter has told of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    last: Option<Inverter>,
    /// How often in a row.
    times: u32,
}

impl Told {
    /// Takes note of one more exchange.
    pub(super) fn hear(&mut self, told: &Inverter) {
        if self.last.as_ref() == Some(told) {
            self.times = self.times.saturating_add(1);
        } else {
            self.last = Some(told.clone());
            self.times = 1;
        }
    }

    /// Whether what was told last is told for the first time.
    pub(super) fn is_new(&self) -> bool {
        self.times == 1
    }

    /// Whether enough exchanges agree.
    pub(super) fn is_sure(&self) -> bool {
        self.times >= AGREEING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_exchanges_in_a_row_must_agree() {
        let inverter = |serial: &str| Inverter {
            name: "roof".into(),
            serial: Some(serial.into()),
            model: None,
        };
        let mut told = Told::default();
        let mut sure = |serial| {
            told.hear(&inverter(serial));
            (told.is_new(), told.is_sure())
        };
        assert_eq!(sure("A"), (true, false));
        assert_eq!(sure("A"), (false, false));
        assert_eq!(sure("B"), (true, false));
        assert_eq!(sure("A"), (true, false));
        assert_eq!(sure("A"), (false, false));
        assert_eq!(sure("A"), (false, true));
        assert_eq!(sure("A"), (false, true));
        assert_eq!(sure("B"), (true, false));
    }
}
