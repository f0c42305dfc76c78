//! What listens to this program: systemd, at the socket that it names in `NOTIFY_SOCKET`.

use std::time::Duration;

#[cfg(target_os = "linux")]
pub use self::linux::Manager;
#[cfg(target_os = "linux")]
pub(super) use self::linux::monotonic;
#[cfg(not(target_os = "linux"))]
pub use self::nobody::Manager;
#[cfg(not(target_os = "linux"))]
pub(super) use self::nobody::monotonic;

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsStr;
    use std::io;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram as Blocking};

    use sd_notify::NotifyState;
    use tokio::net::UnixDatagram;
    use tokio::time::timeout;

    use super::Duration;

    /// How long the manager may be too busy to be told something.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// The service manager, if one listens.
    #[derive(Debug, Default)]
    pub struct Manager {
        address: Option<SocketAddr>,
        watchdog: Option<Duration>,
        /// Whether it was said that it cannot be told anything.
        in_trouble: bool,
    }

    impl Manager {
        /// The one that the environment names.
        pub fn of_environment() -> Self {
            let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())
            else {
                return Self::default();
            };
            match address(&socket) {
                Ok(address) => Self {
                    address: Some(address),
                    watchdog: sd_notify::watchdog_enabled(),
                    in_trouble: false,
                },
                Err(error) => {
                    tracing::warn!(%error, "NOTIFY_SOCKET names no socket; the service manager is told nothing");
                    Self::default()
                }
            }
        }

        /// One that listens at this socket and wants to hear within this time that all is well.
        pub fn at(socket: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
            Ok(Self {
                address: Some(address(socket)?),
                watchdog,
                in_trouble: false,
            })
        }

        /// Within which time it wants to hear that all is well.
        pub fn watchdog(&self) -> Option<Duration> {
            self.watchdog
        }

        /// Tells it something, one assignment a line.
        pub(in super::super) async fn tell(&mut self, states: &[&str]) {
            let Some(address) = &self.address else { return };
            let told = send(address, &states.join("\n")).await;
            match told {
                Ok(()) => self.in_trouble = false,
                Err(error) if !std::mem::replace(&mut self.in_trouble, true) => {
                    tracing::warn!(%error, "the service manager cannot be told how things are");
                }
                Err(_) => {}
            }
        }

        /// Tells it that all is well, if it wants to hear that.
        pub(in super::super) async fn feed(&mut self) {
            if self.watchdog.is_some() {
                self.tell(&["WATCHDOG=1"]).await;
            }
        }
    }

    /// A path, or with an `@` in front a name that is in no folder.
    fn address(socket: &OsStr) -> io::Result<SocketAddr> {
        match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(socket),
        }
    }

    /// A socket for each message: the manager may have been restarted since the last one.
    async fn send(address: &SocketAddr, message: &str) -> io::Result<()> {
        let socket = Blocking::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect_addr(address)?;
        let socket = UnixDatagram::from_std(socket)?;
        match timeout(PATIENCE, socket.send(message.as_bytes())).await {
            Ok(sent) => sent.map(drop),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// The time since the machine was started, which systemd wants to know of a reload.
    pub(in super::super) fn monotonic() -> String {
        NotifyState::monotonic_usec_now().map_or_else(
            |error| {
                tracing::warn!(%error, "the time since the start of the machine is not to be had");
                String::new()
            },
            |now| now.to_string(),
        )
    }
}

#[cfg(not(target_os = "linux"))]
mod nobody {
    use super::Duration;

    /// The service manager: there is none here that listens.
    #[derive(Debug, Default)]
    pub struct Manager;

    impl Manager {
        /// The one that the environment names.
        pub fn of_environment() -> Self {
            Self
        }

        /// Within which time it wants to hear that all is well.
        pub fn watchdog(&self) -> Option<Duration> {
            None
        }

        pub(in super::super) async fn tell(&mut self, _states: &[&str]) {}

        pub(in super::super) async fn feed(&mut self) {}
    }

    pub(in super::super) fn monotonic() -> String {
        String::new()
    }
}
