//! What is put around a Modbus request on its way, and taken off a reply. No framing sees what a register means.

pub mod modbus_tcp;
pub mod rtu_in_udp;
pub mod rtu_over_tcp;
pub mod solarman_v5;

#[cfg(test)]
mod tests;
