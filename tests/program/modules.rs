//! Inverters as they stand in a house: each at an address of its own, with a WiFi module in front of it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use kstar_simulator::Running;
use kstar_simulator::faults::Faults;
#[cfg(all(feature = "aa55", feature = "modbus"))]
use kstar_simulator::modbus;

/// Inverters on loopback addresses of their own, with both ports as real ones have them.
pub(crate) struct Modules {
    runtime: tokio::runtime::Runtime,
    running: Vec<Running>,
    #[cfg(all(feature = "aa55", feature = "modbus"))]
    machines: Vec<modbus::Running>,
}

impl Modules {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            runtime,
            running: Vec::new(),
            #[cfg(all(feature = "aa55", feature = "modbus"))]
            machines: Vec::new(),
        }
    }

    /// One more, with these faults.
    pub(crate) fn add(&mut self, faults: &Faults) -> Ipv4Addr {
        loop {
            let ip = free_ip();
            let config = kstar_simulator::Config {
                data: (ip, 8899).into(),
                discovery: Some((ip, 48899).into()),
                faults: faults.clone(),
                ..kstar_simulator::Config::new(7)
            };
            // Somebody else may have been faster.
            if let Ok(running) = self.runtime.block_on(kstar_simulator::start(config)) {
                self.running.push(running);
                return ip;
            }
        }
    }

    /// One more that speaks Modbus.
    #[cfg(all(feature = "aa55", feature = "modbus"))]
    pub(crate) fn add_machine(&mut self, config: &modbus::config::Config) -> Ipv4Addr {
        loop {
            let ip = free_ip();
            let config = modbus::config::Config {
                data: (ip, 8899).into(),
                discovery: Some((ip, 48899).into()),
                ..config.clone()
            };
            if let Ok(machine) = self.runtime.block_on(modbus::start(config)) {
                self.machines.push(machine);
                return ip;
            }
        }
    }

    /// What machines that speak Modbus got that they do not understand.
    #[cfg(all(feature = "aa55", feature = "modbus"))]
    pub(crate) fn machine_counts(&self) -> Vec<modbus::record::Counts> {
        self.machines.iter().map(modbus::Running::counts).collect()
    }

    pub(crate) fn at(&mut self, data: SocketAddr) {
        let config = kstar_simulator::Config {
            data,
            discovery: None,
            ..kstar_simulator::Config::new(7)
        };
        let running = self.runtime.block_on(kstar_simulator::start(config));
        self.running.push(running.expect("the port is free"));
    }

    pub(crate) fn requests(&self) -> u64 {
        let all = self.running.iter().map(|running| running.counts().requests);
        all.flat_map(std::collections::BTreeMap::into_values).sum()
    }
}

/// A loopback address on which nobody has the ports of an inverter.
pub(crate) fn free_ip() -> Ipv4Addr {
    loop {
        let ip = Ipv4Addr::new(
            127,
            fastrand::u8(1..255),
            fastrand::u8(..),
            fastrand::u8(1..255),
        );
        if [8899, 48899]
            .iter()
            .all(|port| UdpSocket::bind((ip, *port)).is_ok())
        {
            return ip;
        }
    }
}
