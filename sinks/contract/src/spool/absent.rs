//! What stands for the store in a build without the feature `spool`. The configuration refuses a spool there.

use std::path::Path;
use std::sync::Arc;

use kstar_model::reading::{Reading, Undated};
use kstar_model::time::ClockSet;

use super::{Borrowed, Ids};
use crate::carried::Carried;
use crate::delivery::SpoolBounds;

pub(super) struct Store;

fn not_built<T>() -> Result<T, String> {
    Err("the spool is not part of this build; build with `--features spool`".to_owned())
}

#[expect(
    clippy::unused_self,
    clippy::needless_pass_by_ref_mut,
    reason = "the same form as where it is built"
)]
impl Store {
    pub(super) fn new(_folder: &Path, _sink: &'static str, _bounds: SpoolBounds) -> Self {
        Self
    }

    pub(super) fn open(&mut self) -> Result<(), String> {
        not_built()
    }

    pub(super) fn waiting(&self) -> u64 {
        0
    }

    pub(super) fn take_dropped(&mut self) -> u64 {
        0
    }

    pub(super) fn take_carried(&mut self) -> Carried {
        Carried::default()
    }

    pub(super) fn undated(&self) -> u64 {
        0
    }

    pub(super) fn push_undated(&mut self, _: &[Arc<Undated>]) -> Result<(), String> {
        not_built()
    }

    pub(super) fn set_clock(&mut self, _: ClockSet) -> Result<(), String> {
        not_built()
    }

    pub(super) fn push(&mut self, _: &[Arc<Reading>], _: usize) -> Result<Ids, String> {
        not_built()
    }

    pub(super) fn borrow(&mut self, _: usize) -> Result<Borrowed, String> {
        not_built()
    }

    pub(super) fn settle(&mut self, _: &Ids) -> Result<(), String> {
        not_built()
    }

    pub(super) fn close(&mut self) -> Result<(), String> {
        not_built()
    }
}
