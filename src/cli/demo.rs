//! A demonstration: `kstar run` with a simulated inverter, whose day takes two and a half minutes.

#[cfg(feature = "demo")]
pub(super) use built::Demonstration;
#[cfg(not(feature = "demo"))]
pub(super) use not_built::Demonstration;

#[cfg(feature = "demo")]
mod built {
    use std::path::Path;
    use std::time::Duration;

    use kstar_engine::pipeline::gate::rules::Rule;

    use crate::cli::shared::failure::Failure;
    use crate::config::{Config, Host, InverterSection};
    use crate::registry::SinkSections;

    /// Where its history goes.
    const DATABASE: &str = "kstar-demo.db";

    /// How much faster than real time its day goes by.
    const SPEED: f64 = 600.0;

    /// The simulated inverter.
    pub(in crate::cli) struct Demonstration(kstar_simulator::Running);

    impl Demonstration {
        pub(in crate::cli) async fn start() -> Result<Self, Failure> {
            let config = kstar_simulator::Config {
                speed: SPEED,
                discovery: None,
                ..kstar_simulator::Config::new(1)
            };
            let started = kstar_simulator::start(config).await;
            started
                .map(Self)
                .map_err(|error| Failure::Runtime(error.to_string()))
        }

        /// What reads it.
        pub(in crate::cli) fn config(&self) -> Config {
            let address = self.0.data_address();
            let host = Host::At {
                host: address.ip().to_string(),
                port: Some(address.port()),
            };
            let mut config = Config {
                inverters: vec![InverterSection {
                    host: Some(host),
                    ..InverterSection::default()
                }],
                sinks: SinkSections::built_in(Path::new(DATABASE)),
                ..Config::default()
            };
            config.collector.poll_interval = Some(Duration::from_secs(1));
            // Its day takes minutes, so its counters do run faster than any inverter's.
            config.gate.off = vec![Rule::CounterJump];
            config
        }

        pub(in crate::cli) async fn stop(self) {
            self.0.stop().await;
        }
    }
}

/// A build without the simulator has no argument `--demo` either.
#[cfg(not(feature = "demo"))]
mod not_built {
    use crate::cli::shared::failure::Failure;
    use crate::config::Config;

    pub(in crate::cli) enum Demonstration {}

    #[expect(clippy::unused_async, reason = "the same form as where it is built")]
    impl Demonstration {
        pub(in crate::cli) async fn start() -> Result<Self, Failure> {
            Err(Failure::Usage("this build has no simulator".to_owned()))
        }

        pub(in crate::cli) fn config(&self) -> Config {
            match *self {}
        }

        pub(in crate::cli) async fn stop(self) {
            match self {}
        }
    }
}
