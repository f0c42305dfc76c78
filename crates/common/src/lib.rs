//! What sources and sinks both need and that knows no reading.
//!
//! - [`setting`]: durations, sizes and secrets as users write them; [`key`]: what is wrong with a setting, and where;
//! - [`finding`]: what a look at something outside the program has found;
//! - [`host`]: which hosts are in the user's own network;
//! - [`back_off`]: pauses between tries;
//! - [`mod@file`]: files that are replaced as a whole; `sqlite_file`: what every SQLite file has;
//! - [`disk`]: whether a folder can be written to, and how much room there is;
//! - [`collect`]: maps and sets made with little code;
//! - [`due`]: waiting for what may never be due;
//! - [`lock_file`]: a file that one process at a time holds;
//! - `tls`: whom TLS trusts;
//! - [`wrapping`]: text for people: lines of a width, nothing that does not show;
//! - [`tariff`]: what electricity costs, and when;
//! - [`worker`]: a thread for what blocks; [`hold`]: what keeps two of one name apart;
//! - [`zone`]: time zones, also of systems that have none.

pub mod back_off;
pub mod collect;
pub mod disk;
pub mod due;
pub mod file;
pub mod finding;
pub mod hold;
pub mod host;
pub mod key;
pub mod lock_file;
pub mod setting;
#[cfg(feature = "sqlite")]
pub mod sqlite_file;
pub mod tariff;
#[cfg(feature = "tls")]
pub mod tls;
pub mod worker;
pub mod wrapping;
pub mod zone;
