//! Hosts: what their names are made of, and whether one lies in the user's own network.

use std::net::{IpAddr, Ipv4Addr};

/// Whether this may be the name of a host, or an IPv4 address. What does not show, like a zero-width space that came along
/// when it was copied, is in no name.
pub fn is_name(host: &str) -> bool {
    let fits = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_');
    !host.is_empty() && host.chars().all(fits)
}

/// Whether what is sent to this host, a name or an address, stays in the user's own network.
pub fn is_private(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match bare.unwrap_or(host).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => is_private_v4(address),
        Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => is_private_v4(address),
            None => {
                address.is_loopback()
                    || address.is_unique_local()
                    || address.is_unicast_link_local()
            }
        },
        Err(_) => is_private_name(host),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_private() || address.is_link_local()
}

/// Names that no public name server knows: without a dot, and those that home routers and containers give out.
fn is_private_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let own = [
        "local",
        "lan",
        "home",
        "internal",
        "localdomain",
        "localhost",
    ];
    match name.rsplit_once('.') {
        None => true,
        Some((rest, last)) => {
            let home_arpa = last == "arpa" && rest.rsplit('.').next() == Some("home");
            own.contains(&last) || home_arpa
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn what_is_private_is_known_from_the_name() {
        for host in [
            "localhost",
            "homeassistant",
            "homeassistant.local",
            "pi.fritz.lan",
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "::1",
            "[fd12::1]",
            "[fe80::1]",
            "::ffff:10.0.0.1",
            "broker.home.arpa",
            "mqtt.internal",
        ] {
            assert!(is_private(host), "{host}");
        }
        for host in [
            "example.org",
            "172.32.0.1",
            "8.8.8.8",
            "[2001:db8::1]",
            "local.example.org",
            "::ffff:8.8.8.8",
            "nothome.arpa",
        ] {
            assert!(!is_private(host), "{host}");
        }
    }
}
