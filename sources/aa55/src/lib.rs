//! The source for KSTAR KSE and GoodWe ES, EM and BP inverters: AA55 over UDP.
//!
//! [`wire`] is the protocol, pure: bytes to values. [`request`](wire::request) lists every byte that is ever sent.
//! [`discovery`] greets WiFi modules, [`probe`] looks at an inverter for a person, [`explain`](mod@explain) shows what each
//! byte of a datagram means.
//!
//! The way to an inverter is a WiFi module with one serial line behind it, so one request is under way at a time and a
//! pause lies between two.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use kstar_common::finding::Finding;
use kstar_source::async_trait;
use kstar_source::counts::Counts;
use kstar_source::datagram::{self, GREETING_PORT, Reply};
use kstar_source::error::NoAnswer;
use kstar_source::exchange::{Exchange, Patience};
use kstar_source::record::Record;
use kstar_source::source::{
    Asked, Block, Context, Identity, Line, Profile, Sample, Source, SourceConfig, Target,
};
use serde::{Deserialize, Deserializer, de};

use discovery::Module;
use wire::device_info::DeviceInfo;
use wire::discovery::MacAddress;
use wire::{ApAddress, GREETING, Outgoing, Refusal, Request, running, settings};

pub mod discovery;
pub mod explain;
pub mod probe;
pub mod wire;

/// Where inverters answer requests, behind their module.
pub const DATA_PORT: u16 = 8899;

/// The pause between two requests to an inverter: its vendor asks for half a second (PROTOCOL 1.4).
const PAUSE: Duration = Duration::from_millis(500);

/// The most power of an inverter, in watts, unless the configuration says otherwise: no known machine of this protocol
/// gives more.
const MAX_POWER: u32 = 6000;

/// How long the answer to a single module's greeting is waited for; polls work without it.
const GREETING_TIMEOUT: Duration = Duration::from_secs(1);

/// What the section `[[inverter]]` says of an inverter that speaks AA55.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Aa55Config {
    /// The address that requests give as their sender's.
    #[serde(deserialize_with = "ap_address")]
    pub ap_address: ApAddress,
}

fn ap_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ApAddress, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let known = u8::try_from(number).ok().and_then(ApAddress::from_byte);
    known.ok_or_else(|| {
        de::Error::custom(format!(
            "0x{number:02X} is no known address; use 0xB0 (KSTAR) or 0xC0 (GoodWe)"
        ))
    })
}

#[async_trait]
impl SourceConfig for Aa55Config {
    const NAME: &'static str = "aa55";
    const PORT: u16 = DATA_PORT;
    const REASONS: &'static [&'static str] = Refusal::NAMES;

    fn blocks(&self) -> Vec<Block> {
        let block = |name, request, asked| Block {
            name,
            request: Outgoing::Request(request, self.ap_address).bytes().to_vec(),
            asked,
        };
        vec![
            block(RUNNING_DATA, Request::RunningData, Asked::EachPoll),
            block("device_info", Request::DeviceInfo, Asked::ForIdentity),
            block("settings", Request::Settings, Asked::OnDemand),
        ]
    }

    fn describe(&self) -> String {
        format!("asked as 0x{:02X}", self.ap_address.byte())
    }

    fn profile(&self) -> Profile {
        Profile {
            max_power: MAX_POWER,
        }
    }

    fn open(&self, context: &Context, counts: Arc<Counts>) -> Box<dyn Source> {
        Box::new(Inverter::new(self, context, counts))
    }

    async fn probe(&self, context: &Context, polls: NonZeroU32, force: bool) -> Vec<Finding> {
        probe::look(self, context, polls, force).await
    }
}

const RUNNING_DATA: &str = "running_data";

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
    fn new(config: &Aa55Config, context: &Context, counts: Arc<Counts>) -> Self {
        let pause = if context.fast { Duration::ZERO } else { PAUSE };
        Self {
            ap: config.ap_address,
            target: context.target.clone(),
            patience: context.patience,
            exchange: Exchange::new(pause, counts),
            address: None,
            module: None,
        }
    }

    async fn search(&self, greeted: &[SocketAddr]) -> Result<Module, NoAnswer> {
        let (_, modules) = discovery::modules(greeted, discovery::TIMEOUT, self.exchange.counts())
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
                .map(|(module, number)| module.found().config_lines(&format!("inverter{number}")))
                .collect();
            tracing::warn!(
                "{} inverters answered; only {} is read. To read them all, put this into the configuration:\n{}",
                modules.len(),
                chosen.found(),
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
        let heard = |_, answer: &[u8]| wire::discovery::answer(answer).is_ok();
        let greeted = datagram::greet(GREETING, &[module], GREETING_TIMEOUT, counts, heard).await;
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
        Ok(Line { address })
    }

    fn line(&self) -> Option<Line> {
        self.address.map(|address| Line { address })
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
