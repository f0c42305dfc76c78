//! One inverter behind its WiFi module: found, woken, asked.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kstar_source::async_trait;
use kstar_source::counts::Counts;
use kstar_source::datagram::{self, GREETING_PORT, Reply};
use kstar_source::error::NoAnswer;
use kstar_source::exchange::{Exchange, Patience};
use kstar_source::greeting::{self, GREETING, MacAddress, Module};
use kstar_source::record::Record;
use kstar_source::source::{Context, Identity, Line, Sample, Source, Target};

use crate::wire::device_info::DeviceInfo;

use crate::wire::{self, ApAddress, Outgoing, Refusal, Request, running, settings};

/// The pause between two requests to an inverter: its vendor asks for half a second (PROTOCOL 1.4).
const PAUSE: Duration = Duration::from_millis(500);

/// How long the answer to a single module's greeting is waited for; polls work without it.
pub(crate) const GREETING_TIMEOUT: Duration = Duration::from_secs(1);

/// The block that is asked for at each poll.
pub(crate) const RUNNING_DATA: &str = "running_data";

/// The modules that answer a greeting, without the Solarman sticks: they speak another protocol.
pub(crate) async fn modules(
    greeted: &[SocketAddr],
    counts: &Counts,
) -> io::Result<(Vec<SocketAddr>, Vec<Module>)> {
    let (greeted, mut modules) = greeting::search(greeted, greeting::TIMEOUT, counts).await?;
    modules.retain(|module| module.logger_serial().is_none());
    Ok((greeted, modules))
}

/// One inverter: where it is, and when it was asked last.
pub(crate) struct Inverter {
    ap: ApAddress,
    target: Target,
    patience: Patience,
    exchange: Exchange,
    address: Option<SocketAddr>,
    /// The module that was found, so that another inverter's is not taken for it later.
    module: Option<MacAddress>,
}

impl Inverter {
    pub(crate) fn new(ap: ApAddress, context: &Context, counts: Arc<Counts>) -> Self {
        let pause = if context.fast { Duration::ZERO } else { PAUSE };
        Self {
            ap,
            target: context.target.clone(),
            patience: context.patience,
            exchange: Exchange::new(pause, counts),
            address: None,
            module: None,
        }
    }

    async fn search(&self, greeted: &[SocketAddr]) -> Result<Module, NoAnswer> {
        let (_, modules) = modules(greeted, self.exchange.counts())
            .await
            .map_err(NoAnswer::CannotBroadcast)?;
        let chosen = match self.module {
            // A module that answers in place of the known one belongs to another inverter.
            Some(known) => modules.iter().find(|module| module.mac == Some(known)),
            None => modules.first(),
        };
        let Some(chosen) = chosen else {
            return Err(NoAnswer::NotFound);
        };
        if modules.len() > 1 && self.module.is_none() {
            let lines: Vec<String> = modules
                .iter()
                .zip(1..)
                .map(|(module, number)| {
                    let host = module.host();
                    format!("[[inverter]]\nname = \"inverter{number}\"\nhost = \"{host}\"")
                })
                .collect();
            tracing::warn!(
                "{} inverters answered; only {} is read. To read them all, put this into the configuration:\n{}",
                modules.len(),
                chosen,
                lines.join("\n")
            );
        }
        tracing::info!(address = %chosen.address, module = chosen.name.as_deref().unwrap_or("?"), "found an inverter");
        Ok(chosen.clone())
    }

    /// Greets the inverter's own module: some keep the data port closed until they hear it (PROTOCOL 1.3).
    async fn wake(&self, address: SocketAddr) {
        let module = SocketAddr::new(address.ip(), GREETING_PORT);
        let counts = self.exchange.counts();
        // What it answers is not needed, but its coming is the earliest moment to go on.
        let heard = |_, answer: &[u8]| greeting::answer(answer).is_ok();
        let greeted =
            datagram::greet(&[GREETING], &[module], GREETING_TIMEOUT, counts, heard).await;
        if let Err(error) = greeted {
            tracing::debug!(%module, %error, "cannot greet the module");
        }
    }

    async fn find(&mut self) -> Result<SocketAddr, NoAnswer> {
        let found = match &self.target {
            Target::Host { host, port } => datagram::resolve(host, *port).await?,
            Target::Discovered { greeted } => {
                let module = self.search(greeted).await?;
                self.module = self.module.or(module.mac);
                module.address
            }
        };
        self.address = Some(found);
        Ok(found)
    }

    /// Asks as often as patience allows, until there is a reply.
    pub(crate) async fn ask<T>(
        &mut self,
        request: Request,
        patience: Patience,
        decode: impl Fn(&[u8]) -> Result<T, Refusal>,
    ) -> Result<Reply<T>, NoAnswer> {
        let address = match self.address {
            Some(address) => address,
            None => self.find().await?,
        };
        let ap = self.ap;
        let accept = |datagram: &[u8]| {
            let payload = wire::reply(datagram, request, ap)?;
            Ok(decode(payload)?)
        };
        let bytes = Outgoing::Request(request, ap).bytes();
        self.exchange
            .datagram(address, bytes, patience, accept)
            .await
    }
}

#[async_trait]
impl Source for Inverter {
    async fn locate(&mut self) -> Result<Line, NoAnswer> {
        if let Some(known) = self.address {
            self.wake(known).await;
        }
        let address = match (self.find().await, self.address) {
            (Ok(address), _) | (Err(_), Some(address)) => address,
            (Err(reason), None) => return Err(reason),
        };
        Ok(Line::to(address))
    }

    fn line(&self) -> Option<Line> {
        self.address.map(Line::to)
    }

    async fn poll(&mut self) -> Result<Sample, NoAnswer> {
        let reply = self
            .ask(Request::RunningData, self.patience, running::decode)
            .await?;
        let raw = vec![(RUNNING_DATA, reply.bytes)];
        Ok(Sample::new(reply.content, reply.at, reply.after, raw))
    }

    async fn identify(&mut self, patience: Patience) -> Result<Identity, NoAnswer> {
        let reply = self
            .ask(Request::DeviceInfo, patience, DeviceInfo::decode)
            .await?;
        let info = reply.content;
        Ok(Identity {
            serial: info.serial().map(str::to_owned),
            model: info.model().map(str::to_owned),
            firmware: info.firmware().map(str::to_owned),
            record: info.record,
        })
    }

    async fn settings(&mut self) -> Result<Record, NoAnswer> {
        let reply = self
            .ask(Request::Settings, self.patience, settings::decode)
            .await?;
        Ok(reply.content)
    }
}
