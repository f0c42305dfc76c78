//! A demonstration: `kstar run` with a simulated inverter that has a past.

#[cfg(feature = "demo")]
pub(super) use built::Demonstration;
#[cfg(not(feature = "demo"))]
pub(super) use not_built::Demonstration;

use super::shared::args::PlaceArgs;
use crate::config::ListenAddress;

#[cfg(feature = "demo")]
mod built;
#[cfg(all(feature = "demo", feature = "history"))]
mod file;
#[cfg(feature = "demo")]
mod machine;
#[cfg(all(feature = "demo", feature = "history"))]
mod past;
#[cfg(all(feature = "demo", feature = "http"))]
mod port;

/// What a demonstration can be told.
#[cfg_attr(not(feature = "demo"), expect(dead_code, reason = "nobody is told"))]
pub(super) struct Wishes {
    /// Which family is played.
    pub(super) place: PlaceArgs,
    /// Simulated seconds in a second.
    pub(super) speed: f64,
    /// Where HTTP is served, in place of the usual address.
    pub(super) http: Option<ListenAddress>,
    /// Whether readings are written as lines; else the live page is shown in their place.
    pub(super) lines: bool,
}

/// A build without the simulator has no argument `--demo` either.
#[cfg(not(feature = "demo"))]
mod not_built {
    use std::future::Future;

    use kstar_engine::pipeline::ledger::Accounts;

    use super::Wishes;
    use crate::cli::shared::failure::Failure;
    use crate::config::Config;

    pub(in crate::cli) enum Demonstration {}

    #[expect(clippy::unused_async, reason = "the same form as where it is built")]
    impl Demonstration {
        pub(in crate::cli) async fn start(
            _wishes: Wishes,
            _shutdown: impl Future<Output = ()>,
        ) -> Result<Option<Self>, Failure> {
            Err(Failure::Usage("this build has no simulator".to_owned()))
        }

        pub(in crate::cli) fn take_config(&mut self) -> Config {
            match *self {}
        }

        pub(in crate::cli) fn take_accounts(&mut self) -> Accounts {
            match *self {}
        }

        pub(in crate::cli) fn commands(&self) -> String {
            match *self {}
        }

        pub(in crate::cli) async fn stop(self) {
            match self {}
        }
    }
}
