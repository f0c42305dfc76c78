//! One inverter: found, asked block by block, decoded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kstar_source::async_trait;
use kstar_source::blocks::BlockState;
use kstar_source::counts::Counts;
use kstar_source::datagram::{self, GREETING_PORT, Reply};
use kstar_source::error::{NoAnswer, Rejection};
use kstar_source::exchange::{Exchange, Patience};
use kstar_source::greeting::{self, GREETING, Module};
use kstar_source::source::{Asked, Context, Identity, Line, Sample, Source, Target};
use kstar_source::stream::{Dialogue, Stream};
use kstar_source::way::Key;
use tokio::time::{Instant, timeout_at};

use crate::Settings;
use crate::families::{Family, Machine};
use crate::frame::{Answer, Exception, Request};
use crate::framing::modbus_tcp::ModbusTcp;
use crate::framing::rtu_in_udp;
use crate::framing::rtu_over_tcp::RtuOverTcp;
use crate::framing::solarman_v5::{Session, SolarmanV5};
use crate::reasons;
use crate::registers::{Block, Registers};
use crate::via::Via;

/// The pause between two datagrams: GoodWe's modules are those of AA55 (PROTOCOL 1.4).
const DATAGRAM_PAUSE: Duration = Duration::from_millis(500);

/// The pause between two requests over TCP (PROTOCOL-SOLARMAN 1.5).
const STREAM_PAUSE: Duration = Duration::from_millis(100);

/// How long the answer to a single module's greeting is waited for; polls work without it.
const GREETING_TIMEOUT: Duration = Duration::from_secs(1);

/// One inverter: where it is, and what is known of it.
pub(crate) struct Inverter {
    family: &'static Family,
    settings: Settings,
    /// The way of the configuration.
    configured: Via,
    context: Context,
    counts: Arc<Counts>,
    exchange: Exchange,
    stream: Option<Stream>,
    session: Session,
    transaction: u16,
    address: Option<SocketAddr>,
    /// The module that was found, so that another inverter's is not taken for it later.
    module: Option<Module>,
    blocks: Vec<Known>,
    machine: Machine,
}

/// A block, and what it has told.
struct Known {
    block: &'static Block,
    /// Which of its lengths the machine has, as far as that was tried.
    length: usize,
    state: BlockState<Vec<u16>>,
}

/// What came of asking for a block.
enum Told {
    Registers(Reply<Vec<u16>>),
    /// The machine does not have it.
    Lacking,
}

impl Inverter {
    pub(crate) fn new(
        family: &'static Family,
        settings: Settings,
        context: &Context,
        counts: Arc<Counts>,
    ) -> Self {
        let known = |block: &'static Block| Known {
            block,
            length: 0,
            state: BlockState::new(block.asked),
        };
        Self {
            family,
            settings,
            configured: settings.via,
            context: context.clone(),
            exchange: Exchange::new(pause(context, DATAGRAM_PAUSE), Arc::clone(&counts)),
            counts,
            stream: None,
            session: Session::new(settings.logger_serial),
            transaction: fastrand::u16(..),
            address: None,
            module: None,
            blocks: family.blocks.iter().map(known).collect(),
            machine: Machine::default(),
        }
    }

    /// The way that it is asked by; another than the configured one if the stick has told so.
    pub(crate) fn via(&self) -> Via {
        self.settings.via
    }

    /// The serial number of its stick, as far as that is known or was learnt.
    pub(crate) fn logger_serial(&self) -> Option<u32> {
        self.session.logger_serial
    }

    /// Whether it is off by night, as its family is.
    pub(crate) fn sleeps_at_night(&self) -> bool {
        self.family.profile.sleeps_at_night
    }

    async fn find(&mut self) -> Result<SocketAddr, NoAnswer> {
        let found = match &self.context.target {
            Target::Host { host, port } => datagram::resolve(host, *port).await?,
            Target::Discovered { greeted } => {
                let module = self.search(greeted).await?;
                let address = SocketAddr::new(module.address.ip(), self.settings.via.port());
                if self.settings.via == Via::Solarman && self.session.logger_serial.is_none() {
                    self.session.logger_serial = module.logger_serial();
                }
                self.module.get_or_insert(module);
                address
            }
        };
        self.address = Some(found);
        Ok(found)
    }

    /// Where it is; it is looked for if that is not known.
    async fn located(&mut self) -> Result<SocketAddr, NoAnswer> {
        match self.address {
            Some(address) => Ok(address),
            None => self.find().await,
        }
    }

    async fn search(&self, greeted: &[SocketAddr]) -> Result<Module, NoAnswer> {
        let (_, modules) = greeting::search(greeted, greeting::TIMEOUT, &self.counts)
            .await
            .map_err(NoAnswer::CannotBroadcast)?;
        let is_stick = self.settings.via == Via::Solarman;
        let ours = |module: &&Module| match &self.module {
            // A module that answers in place of the known one belongs to another inverter.
            Some(known) => module.mac == known.mac && module.name == known.name,
            None => module.logger_serial().is_some() == is_stick,
        };
        let mut answered = modules.iter().filter(ours);
        let chosen = answered.next().ok_or(NoAnswer::NotFound)?;
        let others = answered.count();
        if others > 0 {
            tracing::warn!(
                "{} modules or sticks answered; only that at {} is read. `kstar discover` shows the lines for all of them",
                others + 1,
                chosen.address.ip()
            );
        }
        tracing::info!(address = %chosen.address.ip(), module = chosen.name.as_deref().unwrap_or("?"), "found an inverter");
        Ok(chosen.clone())
    }

    /// Greets the inverter's own module: some keep the data port closed until they hear it.
    async fn wake(&self, address: SocketAddr) {
        if self.settings.via != Via::Udp {
            return;
        }
        let module = SocketAddr::new(address.ip(), GREETING_PORT);
        let heard = |_, answer: &[u8]| greeting::answer(answer).is_ok();
        let greeted = datagram::greet(
            &[GREETING],
            &[module],
            GREETING_TIMEOUT,
            &self.counts,
            heard,
        )
        .await;
        if let Err(error) = greeted {
            tracing::debug!(%module, %error, "cannot greet the module");
        }
    }

    /// The way over TCP to where it is now.
    fn stream(&mut self, address: SocketAddr) -> Stream {
        match &self.stream {
            Some(stream) if stream.address() == address => stream.clone(),
            _ => self.stream.insert(Stream::to(address)).clone(),
        }
    }

    /// Asks for registers once, by whatever way leads there.
    async fn request(
        &mut self,
        request: Request,
        fits: fn(&[u16]) -> bool,
        patience: Patience,
    ) -> Result<Reply<Answer>, NoAnswer> {
        let address = self.located().await?;
        if self.settings.via == Via::Udp {
            let accept = |datagram: &[u8]| {
                let answer = rtu_in_udp::accept(&request, datagram)?;
                fitting(answer, fits)
            };
            return self
                .exchange
                .datagram(address, &request.rtu(), patience, accept)
                .await;
        }
        let stream = self.stream(address);
        let pause = pause(&self.context, STREAM_PAUSE);
        let counts = &*self.counts;
        match self.settings.via {
            Via::Solarman => {
                let dialogue = SolarmanV5 {
                    request,
                    session: &mut self.session,
                    speaks_modbus_tcp: false,
                };
                let mut dialogue = Fitting(dialogue, fits);
                let outcome = stream.request(&mut dialogue, pause, patience, counts).await;
                if !dialogue.0.speaks_modbus_tcp {
                    return outcome;
                }
                tracing::warn!(%address, "the stick speaks Modbus TCP, not Solarman V5; using that: set `via = \"modbus-tcp\"` for this inverter");
                self.settings.via = Via::ModbusTcp;
                Box::pin(self.request(request, fits, patience)).await
            }
            Via::RtuOverTcp => {
                let mut dialogue = Fitting(RtuOverTcp(request), fits);
                stream.request(&mut dialogue, pause, patience, counts).await
            }
            Via::ModbusTcp | Via::Udp => {
                let dialogue = ModbusTcp {
                    request,
                    transaction: &mut self.transaction,
                };
                let mut dialogue = Fitting(dialogue, fits);
                stream.request(&mut dialogue, pause, patience, counts).await
            }
        }
    }

    /// Asks for a block, in shorter lengths where the machine does not have the longer ones.
    async fn ask(&mut self, index: usize, patience: Patience) -> Result<Told, NoAnswer> {
        loop {
            let Some(known) = self.blocks.get(index) else {
                return Ok(Told::Lacking);
            };
            let (block, length) = (known.block, known.length);
            let Some(request) = block.requests(self.settings.unit).nth(length) else {
                return Ok(Told::Lacking);
            };
            let serial = self.session.logger_serial;
            let from = self.located().await?;
            let reply = self.request(request, block.fits, patience).await?;
            match reply.content {
                Answer::Registers(words) => {
                    return Ok(Told::Registers(Reply {
                        content: words,
                        at: reply.at,
                        after: reply.after,
                        bytes: reply.bytes,
                    }));
                }
                // The stick has only told its own serial number.
                Answer::Exception(_)
                    if serial.is_none() && self.session.logger_serial.is_some() => {}
                Answer::Exception(Exception::ILLEGAL_DATA_ADDRESS)
                    if block.asked != Asked::EachPoll =>
                {
                    if let Some(known) = self.blocks.get_mut(index) {
                        known.length += 1;
                    }
                }
                Answer::Exception(exception) => {
                    return Err(NoAnswer::Exception {
                        from,
                        block: block.name,
                        what: exception.to_string(),
                    });
                }
            }
        }
    }

    /// What is known of the registers: of this poll's blocks, and of slow ones that are not too old.
    fn registers(&self, began: Instant) -> Registers<'_> {
        let mut registers = Registers::default();
        for known in &self.blocks {
            if let Some(words) = known.state.current(began) {
                registers.insert(known.block.first, words);
            }
        }
        registers
    }

    /// The same with all that was ever told: who it is does not change.
    fn all_registers(&self) -> Registers<'_> {
        let mut registers = Registers::default();
        for known in &self.blocks {
            if let Some(words) = known.state.last() {
                registers.insert(known.block.first, words);
            }
        }
        registers
    }
}

/// The pause between two requests; a simulated inverter needs none.
fn pause(context: &Context, usual: Duration) -> Duration {
    if context.fast { Duration::ZERO } else { usual }
}

/// An answer whose registers can be the block's.
fn fitting(answer: Answer, fits: fn(&[u16]) -> bool) -> Result<Answer, Rejection> {
    match &answer {
        Answer::Registers(words) if !fits(words) => Err(reasons::rejection(
            reasons::OTHER_BLOCK,
            "registers of another block of the same length".to_owned(),
        )),
        _ => Ok(answer),
    }
}

/// A dialogue whose answers are looked at as well.
struct Fitting<D>(D, fn(&[u16]) -> bool);

impl<D: Dialogue<Answer = Answer>> Dialogue for Fitting<D> {
    type Answer = Answer;

    fn request(&mut self) -> Vec<u8> {
        self.0.request()
    }

    fn split(&self, received: &[u8]) -> kstar_source::stream::Split {
        self.0.split(received)
    }

    fn accept(&mut self, frame: &[u8]) -> Result<Answer, Rejection> {
        fitting(self.0.accept(frame)?, self.1)
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
        Ok(Line {
            address,
            unit: Some(self.settings.unit),
        })
    }

    fn line(&self) -> Option<Line> {
        let unit = Some(self.settings.unit);
        self.address.map(|address| Line { address, unit })
    }

    fn turned_out(&self) -> Option<Vec<Key>> {
        (self.settings.via != self.configured).then(|| self.settings.keys())
    }

    async fn poll(&mut self) -> Result<Sample, NoAnswer> {
        let began = Instant::now();
        let deadline = began + self.context.interval;
        let mut times: Option<(Instant, Instant, Instant)> = None;
        let mut raw = Vec::new();
        for index in 0..self.blocks.len() {
            let Some(known) = self.blocks.get(index) else {
                continue;
            };
            let block = known.block;
            let is_due = known.state.is_due(Instant::now());
            if !is_due || !(block.wanted)(&self.registers(began)) {
                continue;
            }
            let is_needed = known.state.is_needed();
            let patience = self.context.patience;
            let told = if is_needed {
                self.ask(index, patience).await?
            } else {
                // What is not reached before the next poll is missing from this one.
                match timeout_at(deadline, self.ask(index, patience)).await {
                    Ok(Ok(told)) => told,
                    Ok(Err(reason)) => {
                        tracing::debug!(block = block.name, %reason, "a block is missing");
                        self.missed(index);
                        continue;
                    }
                    Err(_) => {
                        tracing::debug!(
                            block = block.name,
                            "a block is missing: the poll took too long"
                        );
                        self.missed(index);
                        continue;
                    }
                }
            };
            let Some(known) = self.blocks.get_mut(index) else {
                continue;
            };
            match told {
                Told::Registers(reply) => {
                    let asked = reply.at.checked_sub(reply.after).unwrap_or(reply.at);
                    let (first, came, _) = times.unwrap_or((asked, reply.at, reply.at));
                    times = Some((first, came, reply.at));
                    raw.push((block.name, reply.bytes));
                    known.state.told(reply.at, reply.content);
                }
                Told::Lacking => known.state.lacks(),
            }
        }
        let (asked, at, last) = times.unwrap_or((began, began, began));
        let mut machine = std::mem::take(&mut self.machine);
        let values = self.family.decode(&self.registers(began), &mut machine);
        self.machine = machine;
        Ok(Sample::new(values, at, last - asked, raw))
    }

    async fn survey(&mut self, patience: Patience) -> Result<(), NoAnswer> {
        self.locate().await?;
        // First, since it learns what the other requests need: the stick's number, and whether it speaks V5.
        let polled = self.poll().await;
        if matches!(polled, Err(ref reason) if !matches!(reason, NoAnswer::Exception { .. })) {
            return polled.map(drop);
        }
        for block in self.family.blocks {
            for request in block.requests(self.settings.unit) {
                if let Err(reason) = self.request(request, block.fits, patience).await {
                    tracing::debug!(block = block.name, %reason, "a block is not told");
                }
            }
        }
        polled.map(drop)
    }

    async fn identify(&mut self, patience: Patience) -> Result<Identity, NoAnswer> {
        let mut failure = None;
        let mut is_told = false;
        for index in 0..self.blocks.len() {
            let is_asked = self.blocks.get(index).is_some_and(|known| {
                known.block.asked == Asked::ForIdentity
                    && (known.block.wanted)(&self.all_registers())
            });
            if !is_asked {
                continue;
            }
            match self.ask(index, patience).await {
                Ok(Told::Registers(reply)) => {
                    is_told = true;
                    if let Some(known) = self.blocks.get_mut(index) {
                        known.state.told(reply.at, reply.content);
                    }
                }
                Ok(Told::Lacking) => {}
                Err(reason) => failure = failure.or(Some(reason)),
            }
        }
        match failure {
            Some(reason) if !is_told => return Err(reason),
            _ => {}
        }
        let mut machine = std::mem::take(&mut self.machine);
        let identity = (self.family.identity)(&self.all_registers(), &mut machine);
        self.machine = machine;
        Ok(identity)
    }
}

impl Inverter {
    fn missed(&mut self, index: usize) {
        if let Some(known) = self.blocks.get_mut(index) {
            self.counts.miss(known.block.name);
            known.state.missed(Instant::now());
        }
    }
}
