//! A history of all readings in one SQLite file, readable with any SQLite tool while it is written.
//!
//! - `accounts`, `spread`: who has counted what, and for which time; `rivals`: another collector that counts it too;
//! - `moments`: what time it is, as readings tell; `apart`: samples from when the clock was wrong;
//! - `recount`, `repair`: what earlier versions and wrong clocks have left is put right;
//! - `schema`: tables and columns, all made from the catalogue; it runs nothing;
//! - `views`: the same for people, in physical units;
//! - `level`, `rollup`: spans of time, and what the samples in them come to; both know no file;
//! - `settings`, `columns`, `sums`: what the file says of the program that writes it, of samples, and of their sums;
//! - `stale`, `settle`: which sums are to be computed, and that it is done bit by bit;
//! - `widen`, `database` with `known`, `retention`: a file is brought up to date, written, and relieved of what is old;
//! - `store`: the file for the collector that writes it, with its outages;
//! - `history`: the file for those who ask it; `importer`: for those who bring readings of the past;
//! - `rename`: an inverter gets another name;
//! - `failure`, `place`: why a file cannot be used, in words, and whether it is still where it was;
//! - [`probe`]: a look at the file for `kstar check --connect`.
//!
//! Everything here blocks; whoever is async calls it on another thread. No quantity is named anywhere in this crate.

mod accounts;
mod apart;
mod columns;
mod database;
mod failure;
mod history;
mod importer;
mod known;
mod level;
mod moments;
mod place;
pub mod probe;
#[cfg(test)]
mod properties;
mod recount;
mod rename;
mod repair;
mod restore;
mod retention;
mod rivals;
mod rollup;
mod schema;
mod settings;
mod settle;
mod spread;
mod stale;
mod store;
mod sums;
mod views;
mod widen;

pub use crate::failure::HistoryError;
pub use crate::history::{Aggregate, Backup, Bucket, History, SetApart, StoredInverter};
pub use crate::importer::{Imported, Importer};
pub use crate::level::Level;
pub use crate::place::{holders, may_be_file};
pub use crate::rename::{Renamed, rename};
pub use crate::repair::{Misplaced, Repair};
pub use crate::restore::{Restored, restore};
pub use crate::retention::{KeepFor, Retention};
pub use crate::settings::Settings;
pub use crate::store::{Note, Store};
