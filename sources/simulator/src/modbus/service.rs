//! The task behind a running Modbus machine: what comes in from its sockets, and what goes out in its time.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::config::{Config, Family, Via};
use super::faults::Fault;
use super::framing::{LONGEST_REQUEST, Request, Taken, answer_to_v5};
use super::links::{Came, Links};
use super::lock;
use super::record::{Event, Read, Record, Sent, Withheld};
use super::respond::{Asked, Outcome, Outgoing, Responder};
use crate::encode::{self, ASSIST_GREETING, DeviceInfo, GREETING};
use crate::{KEEP_UP_EVERY, MOST_WAITING, PAUSE_AFTER_FAILURE, receive, until};

pub(super) struct Service {
    responder: Responder,
    links: Links,
    discovery: Option<(UdpSocket, SocketAddr)>,
    record: Arc<Mutex<Record>>,
    online: watch::Receiver<bool>,
    asked: u64,
    /// By time, and among those of the same time in the order in which they came.
    waiting: BTreeMap<(Instant, u64), Outgoing>,
    queued: u64,
    heartbeat: Timer,
    push: Timer,
    reset: Timer,
}

/// How long the system takes at most to say that a connection has ended.
const SETTLING: Duration = Duration::from_millis(3);

/// Something that a stick does again and again.
struct Timer {
    every: Option<Duration>,
    next: Option<Instant>,
}

impl Timer {
    fn new(every: Option<Duration>, now: Instant) -> Self {
        let next = every.and_then(|every| now.checked_add(every));
        Self { every, next }
    }

    /// Whether it is time, once for each time.
    fn strikes(&mut self, now: Instant) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = self.every.and_then(|every| now.checked_add(every));
        }
        due
    }
}

impl Service {
    pub(super) fn new(
        responder: Responder,
        links: Links,
        discovery: Option<(UdpSocket, SocketAddr)>,
        record: Arc<Mutex<Record>>,
        online: watch::Receiver<bool>,
        now: Instant,
    ) -> Self {
        let stick = match responder.config().via {
            Via::Solarman => responder.config().stick,
            _ => super::config::Stick::default(),
        };
        Self {
            heartbeat: Timer::new(stick.heartbeat_every, now),
            push: Timer::new(stick.push_every, now),
            reset: Timer::new(stick.reset_every, now),
            responder,
            links,
            discovery,
            record,
            online,
            asked: 0,
            waiting: BTreeMap::new(),
            queued: 0,
        }
    }

    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut greeting = [0; LONGEST_REQUEST];
        let mut keep_up = interval(KEEP_UP_EVERY);
        keep_up.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.waiting.first_key_value().map(|((due, _), _)| *due);
            let unasked = [&self.heartbeat, &self.push, &self.reset];
            let unasked = unasked.into_iter().filter_map(|timer| timer.next).min();
            tokio::select! {
                // Ends when the handle is dropped.
                _ = &mut stopped => break,
                came = self.links.next() => self.take(came).await,
                received = receive(self.discovery.as_ref(), &mut greeting) => match received {
                    Ok((length, from)) => {
                        let datagram = greeting.get(..length).unwrap_or_default();
                        self.take_greeting(datagram, from).await;
                    }
                    Err(_) => sleep(PAUSE_AFTER_FAILURE).await,
                },
                () = until(due) => self.send_due().await,
                () = until(unasked) => self.do_unasked().await,
                Ok(()) = self.online.changed() => self.go_on_or_offline(),
                _ = keep_up.tick() => self.responder.keep_up(Instant::now()),
            }
        }
        for outgoing in std::mem::take(&mut self.waiting).into_values() {
            self.withhold(outgoing.answers, outgoing.to, Withheld::Stopped);
        }
        for peer in self.links.peers() {
            self.end(peer, false);
        }
    }

    fn is_online(&self) -> bool {
        *self.online.borrow()
    }

    fn go_on_or_offline(&mut self) {
        if !self.is_online() {
            self.reset_all();
        }
    }

    async fn take(&mut self, came: Came) {
        match came {
            Came::Opened(peer, from, to) => {
                // Who closes a connection and opens another has one, so the end of the first is looked for before.
                sleep(SETTLING).await;
                while let Some(came) = self.links.waiting() {
                    self.take_from_connection(came).await;
                }
                let off = self.responder.is_off(Instant::now());
                if self.links.open(peer, from, to, self.is_online() && !off) {
                    self.note(peer, Event::Opened, &[]);
                }
            }
            came => self.take_from_connection(came).await,
        }
    }

    async fn take_from_connection(&mut self, came: Came) {
        match came {
            Came::Opened(..) => {}
            Came::Ended(peer) => self.end(peer, false),
            Came::Message(from, Taken::Unexpected(bytes)) => self.take_other(from, &bytes).await,
            Came::Message(from, Taken::V5(request, bytes)) => {
                let read = request.and_then(|request| request.read());
                self.take_v5(read, from, &bytes).await;
            }
            Came::Message(from, Taken::Request(request, bytes)) => {
                self.take_request(request, from, &bytes).await;
            }
        }
    }

    /// What is no Modbus: the AA55 request for the device info, or something unexpected.
    async fn take_other(&mut self, from: SocketAddr, bytes: &[u8]) {
        let config = self.responder.config();
        let master = match encode::Request::parse(bytes) {
            Some((encode::Request::DeviceInfo, master)) if config.via == Via::Udp => master,
            _ => return self.note(from, Event::Unexpected, bytes),
        };
        if !config.aa55_device_info {
            return self.note(from, Event::Unexpected, bytes);
        }
        let form = DeviceInfo::Binary76;
        let payload = encode::device_info(form, &config.serial, &config.model);
        self.note(from, Event::AskedAa55, bytes);
        let silence = if self.is_online() {
            self.responder.silence(Instant::now())
        } else {
            Some(Withheld::Offline)
        };
        if let Some(withheld) = silence {
            return self.withhold(None, from, withheld);
        }
        self.queue(Outgoing {
            answers: None,
            sent: Sent::Aa55,
            to: from,
            from_other_port: false,
            due: Instant::now(),
            pieces: vec![encode::Request::DeviceInfo.reply(master, &payload)],
        });
        self.send_due().await;
    }

    async fn take_request(&mut self, request: Request, from: SocketAddr, bytes: &[u8]) {
        let now = Instant::now();
        let read = request.read();
        let serial = self.note_asked(read, from, bytes);
        if !self.is_online() {
            self.withhold(read.map(|_| serial), from, Withheld::Offline);
            return;
        }
        let asked = Asked {
            serial,
            request,
            from,
        };
        let outcome = match read {
            Some(read) => self.responder.answer(&asked, read, now),
            None => self.responder.reject(&asked, now),
        };
        let answers = read.map(|_| serial);
        match outcome {
            Outcome::Send(all) => {
                for outgoing in all {
                    self.queue(outgoing);
                }
                self.send_due().await;
            }
            Outcome::Withhold(withheld) => self.withhold(answers, from, withheld),
            Outcome::KeepBack(kept) => {
                self.withhold(answers, from, Withheld::Faulty(Fault::Late));
                if let Some(kept) = kept {
                    self.queue(kept);
                    self.send_due().await;
                }
            }
            Outcome::Close => {
                self.withhold(answers, from, Withheld::Faulty(Fault::Close));
                self.end(from, false);
            }
            Outcome::Reset => {
                self.withhold(answers, from, Withheld::Faulty(Fault::Reset));
                self.reset_all();
            }
        }
    }

    /// A V5 frame came where Modbus TCP is spoken.
    async fn take_v5(&mut self, read: Option<Read>, from: SocketAddr, bytes: &[u8]) {
        let serial = self.note_asked(read, from, bytes);
        let Some(answer) = answer_to_v5(bytes) else {
            return;
        };
        self.queue(Outgoing {
            answers: read.map(|_| serial),
            sent: Sent::NoV5,
            to: from,
            from_other_port: false,
            due: Instant::now(),
            pieces: vec![answer],
        });
        self.send_due().await;
    }

    /// Notes a request under the next number, and what is no read as unexpected.
    fn note_asked(&mut self, read: Option<Read>, from: SocketAddr, bytes: &[u8]) -> u64 {
        let serial = self.asked;
        match read {
            Some(read) => {
                self.asked += 1;
                self.note(from, Event::Asked { serial, read }, bytes);
            }
            None => self.note(from, Event::Unexpected, bytes),
        }
        serial
    }

    async fn take_greeting(&mut self, datagram: &[u8], from: SocketAddr) {
        let known = datagram == GREETING || datagram == ASSIST_GREETING;
        let event = if known {
            Event::Greeted
        } else {
            Event::Unexpected
        };
        let Some((socket, local)) = &self.discovery else {
            return;
        };
        lock(&self.record).note(*local, from, event, datagram);
        if !known || !self.is_online() || self.responder.is_off(Instant::now()) {
            return;
        }
        let answer = greeting_answer(self.responder.config(), self.links.local());
        let sent = Event::Sent {
            answers: None,
            sent: Sent::Greeting,
        };
        self.responder.wake();
        match socket.send_to(&answer, from).await {
            Ok(_) => lock(&self.record).note(*local, from, sent, &answer),
            Err(_) => self.withhold(None, from, Withheld::Failed),
        }
    }

    fn queue(&mut self, outgoing: Outgoing) {
        if self.waiting.len() >= MOST_WAITING {
            self.withhold(outgoing.answers, outgoing.to, Withheld::Overflow);
            return;
        }
        self.waiting.insert((outgoing.due, self.queued), outgoing);
        self.queued += 1;
    }

    async fn send_due(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.waiting.first_entry() {
            if first.key().0 > now {
                break;
            }
            let outgoing = first.remove();
            self.send(outgoing).await;
        }
    }

    async fn send(&mut self, outgoing: Outgoing) {
        let Outgoing { answers, to, .. } = outgoing;
        let event = Event::Sent {
            answers,
            sent: outgoing.sent,
        };
        let other = outgoing.from_other_port;
        if !self.send_to(to, other, &outgoing.pieces, event).await {
            self.withhold(answers, to, Withheld::Failed);
        }
        if self.responder.config().via != Via::Solarman {
            return;
        }
        // A stick's reply goes to everybody.
        let overheard = Event::Sent {
            answers,
            sent: Sent::Overheard,
        };
        for peer in self.links.peers().into_iter().filter(|peer| *peer != to) {
            self.send_to(peer, false, &outgoing.pieces, overheard).await;
        }
    }

    /// A client that takes nothing is let go.
    async fn send_to(
        &mut self,
        peer: SocketAddr,
        other: bool,
        pieces: &[Vec<u8>],
        event: Event,
    ) -> bool {
        let record = Arc::clone(&self.record);
        let sent = self.links.send(peer, other, pieces, &record, event).await;
        if sent.is_err() {
            self.end(peer, true);
        }
        sent.is_ok()
    }

    /// What a stick does of its own accord.
    async fn do_unasked(&mut self) {
        let now = Instant::now();
        if self.reset.strikes(now) {
            self.reset_all();
        }
        if self.heartbeat.strikes(now) {
            let frame = self.responder.heartbeat();
            self.send_to_all(frame, Sent::Heartbeat).await;
        }
        if self.push.strikes(now) {
            let frame = self.responder.push();
            self.send_to_all(frame, Sent::Push).await;
        }
    }

    async fn send_to_all(&mut self, frame: Vec<u8>, sent: Sent) {
        let event = Event::Sent {
            answers: None,
            sent,
        };
        let pieces = [frame];
        for peer in self.links.peers() {
            self.send_to(peer, false, &pieces, event).await;
        }
    }

    fn reset_all(&mut self) {
        for peer in self.links.peers() {
            self.end(peer, true);
        }
    }

    fn end(&mut self, peer: SocketAddr, reset: bool) {
        // Under the lock: anyone who sees the end finds it in the record.
        let mut record = lock(&self.record);
        if self.links.end(peer, reset) {
            record.note(self.links.local(), peer, Event::Closed, &[]);
        }
    }

    fn withhold(&self, answers: Option<u64>, to: SocketAddr, withheld: Withheld) {
        self.note(to, Event::Withheld { answers, withheld }, &[]);
    }

    fn note(&self, peer: SocketAddr, event: Event, bytes: &[u8]) {
        lock(&self.record).note(self.links.local(), peer, event, bytes);
    }
}

/// Address, hardware address, and the serial number of a stick or the name of a module.
fn greeting_answer(config: &Config, data: SocketAddr) -> Vec<u8> {
    // Who listens everywhere is asked from here as a rule.
    let address = if data.ip().is_unspecified() {
        IpAddr::from(Ipv4Addr::LOCALHOST)
    } else {
        data.ip()
    };
    let third = match config.family {
        Family::KstarHybrid => config.logger_serial.to_string(),
        Family::GoodweEt | Family::GoodweDt => "Solar-WiFi226W0038".to_owned(),
    };
    format!("{address},{},{third}", config.mac).into_bytes()
}

#[cfg(test)]
mod tests;
