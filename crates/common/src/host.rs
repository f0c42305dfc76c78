//! Hosts: what their names are made of, how a port is put to one, and whether one lies in the user's own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether this may be the name of a host, or an IPv4 address. What does not show, like a zero-width space that came along
/// when it was copied, is in no name.
pub fn is_name(host: &str) -> bool {
    let fits = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_');
    !host.is_empty() && host.chars().all(fits)
}

/// A host and a port, with an IPv6 address in brackets.
pub fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// The host and the port of a text like `HOST`, `HOST:PORT` or `[IPV6]:PORT`, or what is wrong with it. The host may be
/// anything without a colon.
pub fn split_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or("a `[` has no `]`")?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err("what stands between `[` and `]` is no IPv6 address");
        }
        match rest.strip_prefix(':') {
            None if !rest.is_empty() => return Err("something stands behind the `]`"),
            port => (host, port),
        }
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address stands in brackets");
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let number = |port: &str| port.parse().ok().filter(|port| *port != 0);
    match port.map(number) {
        Some(None) => Err("the port is no number from 1 to 65535"),
        Some(port) => Ok((host, port)),
        None => Ok((host, None)),
    }
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
    use super::{is_private, split_port, with_port};

    #[test]
    fn a_port_goes_with_a_name_and_with_an_address() {
        for (text, host, port) in [
            ("a", "a", None),
            ("a:1", "a", Some(1)),
            ("", "", None),
            ("[::1]", "::1", None),
            ("[::1]:80", "::1", Some(80)),
        ] {
            assert_eq!(split_port(text), Ok((host, port)), "{text}");
            if let Some(port) = port {
                assert_eq!(with_port(host, port), text);
            }
        }
        for (text, part) in [
            ("a:", "65535"),
            ("a:0", "65535"),
            ("a:65536", "65535"),
            ("[::1]:", "65535"),
            ("::1", "in brackets"),
            ("[::1", "no `]`"),
            ("[a]", "no IPv6"),
            ("[::1]a", "behind"),
        ] {
            let wrong = split_port(text).unwrap_err();
            assert!(wrong.contains(part), "{text}: {wrong}");
        }
    }

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
