//! Finding WiFi modules and logger sticks: a greeting by broadcast, and what answers (PROTOCOL 1.3, PROTOCOL-SOLARMAN 1.3).
//!
//! An answer is usually `192.168.1.50,ACCF23000001,HF-LPB1x000`: address, MAC and the module's name. The length varies with the
//! address and the name. A newer dongle names no address: `dongle@sn,dtls_port:8899,<serial>`. A Solarman stick has its own
//! serial number in the place of the name, in decimal.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::counts::Counts;
use crate::datagram::{GREETING_PORT, Hex, everybody, greet};

/// What makes a WiFi module or a stick tell its address, and some of them open the data port. It changes nothing.
pub const GREETING: &[u8] = b"WIFIKIT-214028-READ";

/// What modules of the same make answer as well, and some sticks alone.
pub const ASSIST_GREETING: &[u8] = b"HF-A11ASSISTHREAD";

/// What a search sends, and all that is ever sent to the port for greetings.
pub const GREETINGS: [&[u8]; 2] = [GREETING, ASSIST_GREETING];

/// A MAC address. Its order is that of its bytes, so that "the lowest" is the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

/// An answer to the greeting. None of its parts is the inverter's serial number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleAnswer {
    /// The address that the module believes to have; where its datagram came from is more certain.
    pub address: Option<Ipv4Addr>,
    /// The module's MAC address.
    pub mac: Option<MacAddress>,
    /// The module's name or model.
    pub name: Option<String>,
}

/// Why a datagram on the discovery port is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is a greeting, our own or another program's.
    Greeting,
    /// It is not of any known form.
    UnknownForm,
}

/// Reads an answer of any length.
pub fn answer(datagram: &[u8]) -> Result<ModuleAnswer, Unreadable> {
    let is_greeting = |greeting: &&[u8]| datagram.starts_with(greeting);
    if GREETINGS.iter().any(is_greeting) {
        return Err(Unreadable::Greeting);
    }
    let text = std::str::from_utf8(datagram).map_err(|_| Unreadable::UnknownForm)?;
    let text = text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\0');
    if text.chars().any(char::is_control) {
        return Err(Unreadable::UnknownForm);
    }
    let mut parts = text.splitn(3, ',').map(str::trim);
    let (Some(first), Some(second), Some(third)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(Unreadable::UnknownForm);
    };
    let name = (!third.is_empty()).then(|| third.to_owned());
    match first.parse() {
        Ok(address) => Ok(ModuleAnswer {
            address: Some(address),
            mac: mac(second),
            name,
        }),
        Err(_) if first.starts_with("dongle@") => Ok(ModuleAnswer {
            address: None,
            mac: None,
            name,
        }),
        Err(_) => Err(Unreadable::UnknownForm),
    }
}

fn mac(text: &str) -> Option<MacAddress> {
    if text.len() != 12 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let [_, _, bytes @ ..] = u64::from_str_radix(text, 16).ok()?.to_be_bytes();
    Some(MacAddress(bytes))
}

/// How long answers to a broadcast are waited for.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// Where modules answer requests for their inverter.
pub const DATA_PORT: u16 = 8899;

/// What kind of module answered, as far as its answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// A WiFi module, as inverters that speak AA55 have one.
    Wifi,
    /// A Solarman logger stick: it has its own serial number in the place of a name.
    SolarmanStick,
    /// A newer dongle of GoodWe's: its answer names no address.
    GoodweDongle,
}

impl ModuleKind {
    /// For people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Wifi => "WiFi module",
            Self::SolarmanStick => "Solarman stick",
            Self::GoodweDongle => "GoodWe dongle",
        }
    }
}

/// A WiFi module or stick that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// What kind it is.
    pub kind: ModuleKind,
    /// Its MAC address, if it told.
    pub mac: Option<MacAddress>,
    /// Where its inverter answers requests.
    pub address: SocketAddr,
    /// Its name, if it told.
    pub name: Option<String>,
}

impl Module {
    /// The serial number of a Solarman stick; other modules have none.
    pub fn logger_serial(&self) -> Option<u32> {
        match self.kind {
            ModuleKind::SolarmanStick => self.name.as_deref()?.parse().ok(),
            ModuleKind::Wifi | ModuleKind::GoodweDongle => None,
        }
    }

    /// The value of the key `host` that leads to it.
    pub fn host(&self) -> String {
        match self.address.port() {
            DATA_PORT => self.address.ip().to_string(),
            _ => self.address.to_string(),
        }
    }

    /// What answered from there.
    fn new(from: SocketAddr, answer: ModuleAnswer) -> Self {
        let is_number = |name: &String| name.parse::<u32>().is_ok();
        let kind = match (answer.address, &answer.name) {
            (None, _) => ModuleKind::GoodweDongle,
            (Some(_), Some(name)) if is_number(name) => ModuleKind::SolarmanStick,
            (Some(_), _) => ModuleKind::Wifi,
        };
        Self {
            kind,
            mac: answer.mac,
            address: SocketAddr::new(from.ip(), DATA_PORT),
            name: answer.name,
        }
    }
}

/// By its address, with the MAC address if that is known.
impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address.ip())?;
        if let Some(mac) = &self.mac {
            write!(f, " ({mac})")?;
        }
        Ok(())
    }
}

/// The module at an address, if it answers a greeting before the time is up. An error counts as none: anyone who asks for the
/// data learns more of it.
pub async fn module_at(address: IpAddr, timeout: Duration, counts: &Counts) -> Option<Module> {
    let mut module = None;
    let heard = |from: SocketAddr, datagram: &[u8]| {
        let answered = answer(datagram).ok().filter(|_| from.ip() == address);
        module = answered.map(|answer| Module::new(from, answer));
        module.is_some()
    };
    let place = SocketAddr::new(address, GREETING_PORT);
    if let Err(error) = greet(&GREETINGS, &[place], timeout, counts, heard).await {
        tracing::debug!(%place, %error, "cannot greet the module");
    }
    module
}

/// Greets these addresses, everybody if there are none; waits so long for answers, and returns who was greeted and who
/// answered: the lowest MAC first, those without one last. It fails if the greeting could be sent nowhere.
///
/// The datagram's source is more certain than the address that the module writes: it may know itself by another one
/// behind a router.
pub async fn search(
    greeted: &[SocketAddr],
    timeout: Duration,
    counts: &Counts,
) -> io::Result<(Vec<SocketAddr>, Vec<Module>)> {
    let greeted = if greeted.is_empty() {
        everybody()
    } else {
        greeted.to_vec()
    };
    let mut modules = BTreeMap::new();
    greet(&GREETINGS, &greeted, timeout, counts, |from, datagram| {
        if let Ok(answer) = answer(datagram) {
            let module = Module::new(from, answer);
            modules.insert(module.address, module);
        } else {
            tracing::debug!(%from, datagram = %Hex(datagram), "no answer to a greeting");
        }
        false
    })
    .await?;
    let mut modules: Vec<Module> = modules.into_values().collect();
    modules.sort_unstable_by_key(|module| (module.mac.is_none(), module.mac, module.address));
    Ok((greeted, modules))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([0xac, 0xcf, 0x23, 0, 0, 1]);

    fn check(
        datagram: &[u8],
        address: Option<[u8; 4]>,
        mac: Option<MacAddress>,
        name: Option<&str>,
    ) {
        let expected = ModuleAnswer {
            address: address.map(Ipv4Addr::from),
            mac,
            name: name.map(str::to_owned),
        };
        assert_eq!(answer(datagram), Ok(expected));
    }

    #[test]
    fn an_answer_of_any_length_is_read() {
        check(
            b"192.168.1.50,ACCF23000001,HF-LPB1x000",
            Some([192, 168, 1, 50]),
            Some(MAC),
            Some("HF-LPB1x000"),
        );
        check(
            b"10.0.0.1,accf23000001,HF_E20\r\n",
            Some([10, 0, 0, 1]),
            Some(MAC),
            Some("HF_E20"),
        );
        check(
            b"192.168.100.200,ACCF23000001,Solar-WiFi222W0782\0",
            Some([192, 168, 100, 200]),
            Some(MAC),
            Some("Solar-WiFi222W0782"),
        );
        check(b"192.168.1.50,,", Some([192, 168, 1, 50]), None, None);
        check(
            b"192.168.1.50,not a mac,a,name",
            Some([192, 168, 1, 50]),
            None,
            Some("a,name"),
        );
        check(
            b"dongle@sn,dtls_port:8899,95048ESU000W0000",
            None,
            None,
            Some("95048ESU000W0000"),
        );
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        for greeting in GREETINGS {
            assert_eq!(answer(greeting), Err(Unreadable::Greeting));
        }
        for other in [
            &b""[..],
            b"192.168.1.50",
            b"a,b,c",
            b"192.168.1.999,ACCF23000001,x",
            b"\xff\xfe,,",
            b"1.2.3.4,a,b\x07c",
        ] {
            assert_eq!(answer(other), Err(Unreadable::UnknownForm), "{other:?}");
        }
    }

    fn module(datagram: &[u8]) -> Module {
        let from = ([192, 168, 1, 50], 48899).into();
        Module::new(from, answer(datagram).expect("an answer"))
    }

    #[test]
    fn a_stick_a_dongle_and_a_wifi_module_are_told_apart() {
        for (datagram, kind, logger_serial) in [
            (
                &b"192.168.1.50,34EAE7000001,3503312345"[..],
                ModuleKind::SolarmanStick,
                Some(3_503_312_345),
            ),
            (
                b"192.168.1.50,ACCF23000001,HF-LPB1x000",
                ModuleKind::Wifi,
                None,
            ),
            (b"192.168.1.50,,", ModuleKind::Wifi, None),
            (
                b"dongle@sn,dtls_port:8899,95048ESU000W0000",
                ModuleKind::GoodweDongle,
                None,
            ),
        ] {
            let module = module(datagram);
            assert_eq!(module.kind, kind);
            assert_eq!(module.logger_serial(), logger_serial);
        }
    }

    #[test]
    fn a_host_names_the_port_only_where_it_is_another() {
        let mut module = module(b"192.168.1.50,,");
        assert_eq!(module.host(), "192.168.1.50");
        module.address.set_port(9000);
        assert_eq!(module.host(), "192.168.1.50:9000");
    }

    #[test]
    fn a_mac_is_written_as_people_know_it() {
        assert_eq!(MAC.to_string(), "AC:CF:23:00:00:01");
    }
}
