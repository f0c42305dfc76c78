//! What stands for the store in a build without the feature `spool`. The configuration refuses a spool there.

use std::path::Path;
use std::sync::Arc;

use super::{Borrowed, Ids};
use crate::delivery::SpoolBounds;
use crate::reading::Reading;
use crate::sink::OpenError;

pub(super) enum Store {}

impl Store {
    pub(super) fn open(
        _folder: &Path,
        _sink: &'static str,
        _bounds: SpoolBounds,
    ) -> Result<Self, OpenError> {
        Err(OpenError::Misconfigured(
            "the spool is not part of this build; build with `--features spool`".to_owned(),
        ))
    }

    pub(super) fn waiting(&self) -> u64 {
        match *self {}
    }

    pub(super) fn take_dropped(&mut self) -> u64 {
        match *self {}
    }

    pub(super) fn push(&mut self, _: &[Arc<Reading>]) -> Result<Ids, String> {
        match *self {}
    }

    pub(super) fn borrow(&mut self, _: usize) -> Result<Borrowed, String> {
        match *self {}
    }

    pub(super) fn settle(&mut self, _: &Ids) -> Result<(), String> {
        match *self {}
    }

    pub(super) fn close(&mut self) -> Result<(), String> {
        match *self {}
    }
}
