//! What an inverter speaks that does not answer as it is configured, and the lines to write in place of those that are there.

use kstar_common::finding::Finding;
use kstar_source::counts::Counts;
use kstar_source::greeting;
use kstar_source::source::Target;
use kstar_source::way::Key;

use crate::config::{Config, Host, InverterSection};
use crate::registry::{Acquaintance, Stranger, identify};

/// Tries every known way at the place of that inverter, or at those of all that answer a greeting.
pub(super) async fn look(inverter: &InverterSection, config: &Config) -> Vec<Finding> {
    let context = inverter.context(&config.collector);
    let timeout = inverter.timeout.or(config.collector.timeout);
    let stranger = |host, port, module| Stranger {
        host,
        port,
        elsewhere: true,
        tried: Some(inverter.source.clone()),
        module,
        timeout,
        fast: context.fast,
    };
    if let Target::Discovered { greeted } = &context.target {
        let search = greeting::search(greeted, greeting::TIMEOUT, &Counts::default()).await;
        // That a greeting cannot be sent is said already.
        let (_, modules) = search.unwrap_or_default();
        let mut findings = Vec::new();
        for module in modules {
            let host = module.address.ip().to_string();
            if let Ok(found) = identify(&stranger(host, None, Some(module))).await {
                findings.push(somebody(&found));
            }
        }
        return findings;
    }
    let Some(Host::At { host, port }) = &inverter.host else {
        return Vec::new();
    };
    let found = identify(&stranger(host.clone(), *port, None)).await;
    found
        .ok()
        .and_then(|found| differs(inverter, &found))
        .into_iter()
        .collect()
}

/// An inverter that was found in place of one that was to be discovered.
fn somebody(found: &Acquaintance) -> Finding {
    Finding::wrong(
        "family",
        format!("{} is a {found}", found.host),
        format!("write {} for this inverter", listed(&found.lines())),
    )
}

/// How what was found differs from what is configured, if it does.
fn differs(inverter: &InverterSection, found: &Acquaintance) -> Option<Finding> {
    let configured = inverter.source.keys();
    let is_same_family = inverter.family == found.family;
    let mut lines = Vec::new();
    let keys = if is_same_family {
        let other = |key: &&Key| !configured.contains(key);
        found.keys.iter().filter(other).copied().collect()
    } else {
        lines.push(format!("family = \"{}\"", found.family.name()));
        found.unusual_keys()
    };
    lines.extend(keys.iter().map(ToString::to_string));
    let host = Host::try_from(found.host.clone()).ok();
    if host != inverter.host {
        lines.push(format!("host = \"{}\"", found.host));
    }
    let usual = inverter.family.usual_source().keys();
    let is_obsolete = |key: &&Key| {
        let stays = if is_same_family { &found.keys } else { &keys };
        !usual.contains(key) && stays.iter().all(|other| other.name != key.name)
    };
    let obsolete: Vec<&str> = configured
        .iter()
        .filter(is_obsolete)
        .map(|key| key.name)
        .collect();
    let about = match keys.first() {
        _ if !is_same_family => "family",
        Some(key) => key.name,
        None if lines.is_empty() => return None,
        None => "host",
    };
    let module = found.module.as_ref().map(|module| module.kind.label());
    let behind = module
        .map(|label| format!(" behind a {label}"))
        .unwrap_or_default();
    let said = format!(
        "{}{behind} is a {found}, not a {}",
        found.host,
        as_configured(inverter, &configured)
    );
    let without = if obsolete.is_empty() {
        String::new()
    } else {
        format!(" without {}", listed(&obsolete))
    };
    Some(Finding::wrong(
        about,
        said,
        format!("write {}{without} for this inverter", listed(&lines)),
    ))
}

/// `kstar-hybrid (via = "solarman", unit = 1)`.
fn as_configured(inverter: &InverterSection, keys: &[Key]) -> String {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    format!("{} ({})", inverter.family.name(), keys.join(", "))
}

/// `` `a`, `b` ``.
fn listed(parts: &[impl AsRef<str>]) -> String {
    let parts = parts.iter().map(|part| format!("`{}`", part.as_ref()));
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(all(test, feature = "aa55", feature = "modbus"))]
#[expect(
    clippy::expect_used,
    clippy::panic,
    reason = "what helps a test may panic like the test itself"
)]
mod tests {
    use super::*;
    use crate::config::ConfigFile;

    fn configured(section: &str) -> InverterSection {
        let text = format!("[[inverter]]\n{section}\n");
        let config = Config::parse(&ConfigFile::new("kstar.toml", &text)).expect(section);
        config.inverters().remove(0)
    }

    /// What is found at an inverter that is configured like this.
    fn found(section: &str) -> Acquaintance {
        let inverter = configured(section);
        let Some(Host::At { host, port }) = inverter.host else {
            panic!("it has a host")
        };
        Acquaintance {
            family: inverter.family,
            keys: inverter.source.keys(),
            host: port.map_or(host.clone(), |port| format!("{host}:{port}")),
            serial: None,
            model: None,
            module: None,
        }
    }

    fn fix(configured_as: &str, found_as: &str) -> Option<(&'static str, String)> {
        let finding = differs(&configured(configured_as), &found(found_as))?;
        Some((finding.about, finding.fix.expect("a fix")))
    }

    #[test]
    fn every_difference_has_the_lines_that_end_it() {
        let host = "host = 'a'\n";
        let hybrid = format!("{host}family = 'kstar-hybrid'\n");
        let et = format!("{host}family = 'goodwe-et'\n");
        for (configured_as, found_as, about, lines) in [
            (
                hybrid.clone() + "via = 'modbus-tcp'\nunit = 3",
                host.to_owned(),
                "family",
                "write `family = \"kse\"` without `via`, `unit` for this inverter",
            ),
            (
                host.to_owned(),
                hybrid.clone(),
                "family",
                "write `family = \"kstar-hybrid\"` for this inverter",
            ),
            (
                host.to_owned(),
                et.clone() + "via = 'modbus-tcp'\nunit = 245",
                "family",
                "write `family = \"goodwe-et\"`, `via = \"modbus-tcp\"`, `unit = 245` for this inverter",
            ),
            (
                hybrid.clone() + "via = 'modbus-tcp'",
                hybrid.clone(),
                "via",
                "write `via = \"solarman\"` for this inverter",
            ),
            (
                hybrid.clone(),
                "host = 'a:8899'\nfamily = 'kstar-hybrid'\nvia = 'modbus-tcp'".to_owned(),
                "via",
                "write `via = \"modbus-tcp\"`, `host = \"a:8899\"` for this inverter",
            ),
            (
                et.clone() + "unit = 1",
                et.clone(),
                "unit",
                "write `unit = 247` for this inverter",
            ),
            (
                host.to_owned(),
                host.to_owned() + "ap_address = 0xC0",
                "ap_address",
                "write `ap_address = 0xC0` for this inverter",
            ),
            (
                "host = 'a:9000'".to_owned(),
                host.to_owned(),
                "host",
                "write `host = \"a\"` for this inverter",
            ),
        ] {
            let expected = Some((about, lines.to_owned()));
            assert_eq!(fix(&configured_as, &found_as), expected, "{configured_as}");
        }
        // The probe itself has said what is wrong with it.
        assert_eq!(fix(&(hybrid.clone() + "logger_serial = 1"), &hybrid), None);
        assert_eq!(fix(host, host), None);
    }
}
