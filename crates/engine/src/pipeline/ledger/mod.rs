//! The ledger: what the meter and the gate must not forget, kept together for all inverters.
//!
//! A total is written here before anybody hears of it, so that none that was published ever falls: not after SIGKILL,
//! which loses nothing that was handed to the system, and by a minute at most after a power cut.

pub mod file;
pub mod keeper;
pub mod lock;
pub mod quarantine;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use kstar_model::counted::AccountId;
use serde::{Deserialize, Serialize};

use crate::pipeline::gate::Baseline;
use crate::pipeline::meter::counters::Counters;

/// How many inverters that had a name before are remembered. Nobody exchanges more of them, and a device info that
/// tells another serial number each time must not fill the disk.
const MOST_FORMER: usize = 16;

/// What is remembered of all inverters, by their names.
pub type Accounts = BTreeMap<String, Account>;

/// What is remembered under one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The inverter that has the name now.
    pub current: Machine,
    /// Those that had it before, the latest last; each has a serial number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Machine>,
    /// Who counts the energies under this name, as those are told who keep sums of them. It stays when another inverter gets
    /// the name: one collector counts nothing twice, whatever its clock says. Zero until it is [made](Self::complete).
    #[serde(default)]
    pub id: AccountId,
    /// The number of the reading that was told last.
    #[serde(default)]
    pub sequence: u64,
}

/// What is remembered of one inverter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Its serial number, once it has told it. A KSE may never do that.
    pub serial: Option<String>,
    pub meter: Counters,
    /// Its own counters, as they were last believed.
    pub baseline: Baseline,
}

impl Account {
    /// Gives an account that has no number one, which it then keeps.
    pub fn complete(&mut self) {
        while self.id == AccountId::default() {
            // Two collectors may begin at the same moment without a clock: only the system's randomness parts them.
            self.id = AccountId(RandomState::new().hash_one(()).cast_signed());
        }
    }

    /// Makes known which inverter has the name. If it is another one than before, its own counters are taken up where
    /// they were left, or begun, and this says so; those of the one before are kept.
    pub fn identify(&mut self, serial: &str) -> bool {
        match self.current.serial.as_deref() {
            Some(known) if known == serial => return false,
            None => {
                self.current.serial = Some(serial.to_owned());
                return false;
            }
            Some(_) => {}
        }
        let place = self
            .former
            .iter()
            .position(|former| former.serial.as_deref() == Some(serial));
        let next = match place {
            Some(place) => self.former.remove(place),
            None => Machine {
                serial: Some(serial.to_owned()),
                ..Machine::default()
            },
        };
        self.former.push(std::mem::replace(&mut self.current, next));
        if self.former.len() > MOST_FORMER {
            self.former.remove(0);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::meter::counters::Flow;

    fn pv(account: &Account) -> i64 {
        account.current.meter.totals.of(Flow::Pv).published()
    }

    #[test]
    fn a_serial_number_that_becomes_known_changes_nothing() {
        let mut account = Account::default();
        account.current.meter.set(Flow::Pv, 7);
        assert!(!account.identify("A"));
        assert!(!account.identify("A"));
        assert_eq!((pv(&account), account.former.len()), (7, 0));
    }

    #[test]
    fn another_inverter_has_counters_of_its_own_and_finds_them_again() {
        let mut account = Account::default();
        account.identify("A");
        account.current.meter.set(Flow::Pv, 7);
        assert!(account.identify("B"));
        assert_eq!(pv(&account), 0);
        account.current.meter.set(Flow::Pv, 9);
        assert!(account.identify("A"));
        assert_eq!(pv(&account), 7);
        assert!(account.identify("B"));
        assert_eq!(pv(&account), 9);
        assert_eq!(account.former.len(), 1);
    }

    #[test]
    fn an_account_keeps_its_number_when_another_inverter_gets_the_name() {
        let mut account = Account::default();
        account.complete();
        let id = account.id;
        assert_ne!(id, AccountId::default());
        account.identify("A");
        account.identify("B");
        account.complete();
        assert_eq!(account.id, id);
        let mut other = Account::default();
        other.complete();
        assert_ne!(other.id, id);
    }

    #[test]
    fn serial_numbers_without_end_do_not_fill_the_disk() {
        let mut account = Account::default();
        for number in 0..1000 {
            account.identify(&number.to_string());
        }
        assert_eq!(account.former.len(), MOST_FORMER);
        assert!(account.identify("998"));
    }
}
