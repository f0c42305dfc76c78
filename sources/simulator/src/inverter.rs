//! One inverter without its sockets: a request goes in, and out come the datagrams that it sends for it, each with
//! its time. What happens depends on the seed, the requests and their times alone.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::config::Config;
use super::day::{Household, LOWEST_SOC};
use super::encode::{
    DeviceInfo, Request, Variant, acknowledgement, checksum, device_info, readdressed, running,
    settings,
};
use super::faults::{Fault, Faults, LONGEST_DELAY, Silence};
use super::quirks::{MODBUS_EXCEPTION, Quirk, Quirks};
use super::record::{Sent, Withheld};
use super::replay::Replay;

/// A request that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) serial: u64,
    pub(super) request: Request,
    pub(super) master: u8,
    pub(super) from: SocketAddr,
}

/// A datagram on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) answers: Option<u64>,
    pub(super) sent: Sent,
    pub(super) to: SocketAddr,
    /// From the second socket instead of the inverter's own.
    pub(super) from_other_port: bool,
    pub(super) due: Instant,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Inverter {
    household: Household,
    began: Instant,
    begins_seconds: f64,
    speed: f64,
    variant: Variant,
    serial: String,
    model: String,
    device_info: Option<DeviceInfo>,
    settings: bool,
    asleep: bool,
    latency: Duration,
    faults: Faults,
    quirks: Quirks,
    random: fastrand::Rng,
    replay: Option<Replay>,
    quiet: Option<Quiet>,
    /// How many more answers are without measurements.
    starting: u32,
    last: Option<(Asked, Vec<u8>)>,
}

/// A silence that has not ended.
#[derive(Clone, Copy)]
struct Quiet {
    fault: Fault,
    ends: Ends,
}

#[derive(Clone, Copy)]
enum Ends {
    At(Instant),
    AfterRequests(u32),
}

impl Inverter {
    pub(super) fn new(config: Config, now: Instant) -> Self {
        // The weather must not be read from the same numbers as the faults.
        let random = fastrand::Rng::with_seed(config.seed ^ 0x0F_A0_17_5E_ED);
        let household = config
            .household
            .unwrap_or_else(|| Household::new(config.seed, config.variant, config.begins.date()));
        Self {
            began: now,
            begins_seconds: household.seconds_at(config.begins),
            household,
            speed: config.speed,
            variant: config.variant,
            serial: config.serial,
            model: config.model,
            device_info: config.device_info,
            settings: config.settings,
            asleep: config.asleep,
            latency: config.latency.min(LONGEST_DELAY),
            faults: config.faults,
            quirks: config.quirks,
            random,
            replay: config.replay,
            quiet: None,
            starting: 0,
            last: None,
        }
    }

    /// Keeps up with time while nobody asks, so that no request has to wait for days to be simulated.
    pub(super) fn keep_up(&mut self, now: Instant) {
        let seconds = self.seconds(now);
        self.household.advance_to(seconds);
    }

    /// Somebody has sent the greeting.
    pub(super) fn wake(&mut self) {
        self.asleep = false;
    }

    /// What is sent for a request; nothing of it is due before `now`.
    pub(super) fn answer(&mut self, asked: Asked, now: Instant) -> Result<Vec<Outgoing>, Withheld> {
        if self.asleep {
            return Err(Withheld::Asleep);
        }
        if let Some(fault) = self.still_quiet(now) {
            return Err(Withheld::Faulty(fault));
        }
        let offered = match asked.request {
            Request::Running => true,
            Request::DeviceInfo => self.device_info.is_some(),
            Request::Settings => self.settings,
        };
        if !offered {
            return Err(Withheld::NotOffered);
        }
        match self.faults.draw(&mut self.random) {
            Some(Fault::Drop) => Err(Withheld::Faulty(Fault::Drop)),
            Some(fault @ (Fault::Silence | Fault::Reboot)) => {
                self.fall_silent(fault, now);
                Err(Withheld::Faulty(fault))
            }
            struck => {
                let bytes = self.reply(asked, now);
                let last = self.last.replace((asked, bytes.clone()));
                let right = Outgoing {
                    answers: Some(asked.serial),
                    sent: if asked.request == Request::Running && self.replay.is_some() {
                        Sent::Replayed
                    } else {
                        Sent::Proper
                    },
                    to: asked.from,
                    from_other_port: false,
                    due: now + self.latency,
                    bytes,
                };
                Ok(match struck {
                    Some(fault) => self.strike(fault, asked, right, last, now),
                    None => vec![right],
                })
            }
        }
    }

    fn still_quiet(&mut self, now: Instant) -> Option<Fault> {
        let quiet = self.quiet.as_mut()?;
        let fault = quiet.fault;
        let over = match &mut quiet.ends {
            Ends::At(end) => now >= *end,
            Ends::AfterRequests(0) => true,
            Ends::AfterRequests(left) => {
                *left -= 1;
                false
            }
        };
        if !over {
            return Some(fault);
        }
        self.quiet = None;
        if fault == Fault::Reboot {
            self.starting = self.faults.reboot_answers;
        }
        None
    }

    fn fall_silent(&mut self, fault: Fault, now: Instant) {
        let silence = if fault == Fault::Reboot {
            self.faults.reboot
        } else {
            self.faults.silence
        };
        let ends = match silence {
            Silence::For(time) => Ends::At(now + time.min(LONGEST_DELAY)),
            Silence::Requests(requests) => Ends::AfterRequests(requests.saturating_sub(1)),
        };
        self.quiet = Some(Quiet { fault, ends });
    }

    fn seconds(&self, now: Instant) -> f64 {
        self.begins_seconds + self.speed * now.duration_since(self.began).as_secs_f64()
    }

    fn reply(&mut self, asked: Asked, now: Instant) -> Vec<u8> {
        if asked.request == Request::DeviceInfo
            && self.quirks.draw(&mut self.random) == Some(Quirk::SwappedSerial)
        {
            return self.swapped_serial(asked.master);
        }
        if asked.request != Request::Running {
            let replay = self.replay.as_ref();
            let recorded = replay.and_then(|replay| replay.other(asked.request, asked.master));
            return recorded.unwrap_or_else(|| self.reply_to(asked.request, asked.master, now));
        }
        if let Some(replay) = &mut self.replay {
            return replay.next(asked.master);
        }
        if self.starting == 0 {
            return match self.quirks.draw(&mut self.random) {
                Some(quirk) => self.odd_reply(quirk, asked.master, now),
                None => self.reply_to(Request::Running, asked.master, now),
            };
        }
        self.starting -= 1;
        let figures = self.household.starting_at(self.seconds(now));
        let payload = running(&figures, self.variant.payload_len());
        Request::Running.reply(asked.master, &payload)
    }

    /// Running data with a quirk.
    fn odd_reply(&mut self, quirk: Quirk, master: u8, now: Instant) -> Vec<u8> {
        if quirk == Quirk::Modbus {
            return MODBUS_EXCEPTION.to_vec();
        }
        let seconds = self.seconds(now);
        let mut figures = self.household.at(seconds);
        quirk.change(&mut figures, seconds.rem_euclid(86_400.0));
        let mut payload = running(&figures, self.variant.payload_len());
        if quirk == Quirk::WrongOffsets {
            payload.rotate_right(1);
        }
        Request::Running.reply(master, &payload)
    }

    fn reply_to(&mut self, request: Request, master: u8, now: Instant) -> Vec<u8> {
        let payload = match request {
            Request::Running => return self.running_reply(self.variant, master, now),
            Request::DeviceInfo => {
                let form = self.device_info.unwrap_or_default();
                device_info(form, &self.serial, &self.model)
            }
            Request::Settings => settings(LOWEST_SOC),
        };
        request.reply(master, &payload)
    }

    /// Device info in which two neighbours in the serial number have changed places.
    fn swapped_serial(&mut self, master: u8) -> Vec<u8> {
        let form = self.device_info.unwrap_or_default();
        let mut payload = device_info(form, &self.serial, &self.model);
        let different: Vec<usize> = (31..46)
            .filter(|at| payload.get(*at) != payload.get(at + 1))
            .collect();
        if let Some(at) = self.random.choice(different) {
            payload.swap(at, at + 1);
        }
        Request::DeviceInfo.reply(master, &payload)
    }

    fn running_reply(&mut self, variant: Variant, master: u8, now: Instant) -> Vec<u8> {
        let figures = self.household.at(self.seconds(now));
        Request::Running.reply(master, &running(&figures, variant.payload_len()))
    }

    /// The reply to another request than this one.
    fn wrong_reply(&mut self, asked: Asked, now: Instant) -> Vec<u8> {
        let other = match asked.request {
            Request::Running if self.random.bool() => Request::Settings,
            Request::Running => Request::DeviceInfo,
            Request::DeviceInfo | Request::Settings => Request::Running,
        };
        self.reply_to(other, asked.master, now)
    }

    /// What a fault makes of the right answer.
    fn strike(
        &mut self,
        fault: Fault,
        asked: Asked,
        mut right: Outgoing,
        last: Option<(Asked, Vec<u8>)>,
        now: Instant,
    ) -> Vec<Outgoing> {
        let mut wrong = right.clone();
        wrong.sent = Sent::Faulty(fault);
        match fault {
            Fault::Duplicate => return vec![right, wrong],
            Fault::Stale => {
                if let Some((last, bytes)) = last.filter(|_| self.random.bool()) {
                    wrong.answers = Some(last.serial);
                    wrong.to = last.from;
                    wrong.bytes = bytes;
                    return vec![wrong, right];
                }
                wrong.bytes = self.wrong_reply(asked, now);
            }
            Fault::Delay => wrong.due += self.faults.draw_delay(&mut self.random),
            Fault::Port => wrong.from_other_port = true,
            Fault::Checksum => self.spoil(&mut wrong.bytes),
            Fault::Truncate => {
                wrong.bytes = self.stump(asked, std::mem::take(&mut right.bytes), now);
            }
            Fault::Overlong => {
                let extra = self.random.usize(1..=32);
                wrong.bytes.extend(self.garbage(extra));
            }
            Fault::Header => self.behead(&mut wrong.bytes),
            Fault::Address => {
                let master = if asked.master == 0xB0 { 0xC0 } else { 0xB0 };
                wrong.bytes = readdressed(&right.bytes, master).unwrap_or(right.bytes);
            }
            Fault::Function => {
                wrong.bytes = if asked.request == Request::Settings || self.random.bool() {
                    acknowledgement(asked.master)
                } else {
                    self.reply_to(Request::Settings, asked.master, now)
                };
            }
            Fault::Garbage => {
                let length = self.random.usize(1..=149);
                wrong.bytes = self.garbage(length);
            }
            Fault::Echo => wrong.bytes = asked.request.frame(asked.master),
            Fault::Glued => {
                wrong.bytes = self.wrong_reply(asked, now);
                wrong.bytes.extend(right.bytes);
            }
            // These send nothing, and are seen to before.
            Fault::Drop | Fault::Silence | Fault::Reboot => return Vec::new(),
        }
        vec![wrong]
    }

    /// One bit of the payload or the sum itself: either way the sum no longer fits.
    fn spoil(&mut self, bytes: &mut [u8]) {
        let last = bytes.len().saturating_sub(1);
        let place = if last > 9 && self.random.bool() {
            self.random.usize(7..last - 1)
        } else {
            last
        };
        let bit = self.random.u8(0..8);
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1 << bit;
        }
    }

    fn stump(&mut self, asked: Asked, whole: Vec<u8>, now: Instant) -> Vec<u8> {
        let longest = Variant::Gw140;
        let longer = asked.request == Request::Running
            && self.replay.is_none()
            && self.variant != longest
            && self.random.bool();
        let (mut bytes, shortest) = if longer {
            let frame = self.running_reply(longest, asked.master, now);
            (frame, whole.len() + 1)
        } else {
            (whole, 1)
        };
        if bytes.len() > shortest {
            bytes.truncate(self.random.usize(shortest..bytes.len()));
        }
        bytes
    }

    fn behead(&mut self, bytes: &mut [u8]) {
        let headers = [[0x55, 0xAA], [0xAA, 0x54], [0xA5, 0x55], [0x00, 0x00]];
        if let Some(header) = self.random.choice(headers)
            && let Some(place) = bytes.get_mut(..2)
        {
            place.copy_from_slice(&header);
        }
        if let Some((rest, sum)) = bytes.split_last_chunk_mut::<2>() {
            *sum = checksum(rest).to_be_bytes();
        }
    }

    /// Random bytes in which no frame can begin.
    fn garbage(&mut self, length: usize) -> Vec<u8> {
        let byte = || match self.random.u8(..) {
            0xAA => 0xAB,
            byte => byte,
        };
        std::iter::repeat_with(byte).take(length).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::MASTERS;
    use super::*;

    fn asked(serial: u64, request: Request) -> Asked {
        Asked {
            serial,
            request,
            master: 0xB0,
            // Each request has a socket of its own.
            from: SocketAddr::from(([127, 0, 0, 1], 20_000 + u16::try_from(serial).expect("few"))),
        }
    }

    fn frozen(seed: u64) -> Config {
        Config {
            speed: 0.0,
            ..Config::new(seed)
        }
    }

    fn struck_by(fault: Fault) -> (Inverter, Inverter, Instant) {
        let now = Instant::now();
        let faulty = Config {
            faults: Faults::always(fault),
            ..frozen(3)
        };
        (
            Inverter::new(faulty, now),
            Inverter::new(frozen(3), now),
            now,
        )
    }

    #[test]
    fn an_inverter_with_a_household_goes_on_with_it() {
        let now = Instant::now();
        let first_day = jiff::civil::date(2025, 6, 1);
        let mut household = Household::new(3, Variant::Kse, first_day).with_seasons();
        household.step_by(900);
        let begins = jiff::civil::date(2026, 6, 21).at(12, 0, 0, 0);
        let past = household.at(household.seconds_at(begins));
        household.step_by(10);
        let config = Config {
            household: Some(household),
            begins,
            ..frozen(3)
        };
        let mut inverter = Inverter::new(config, now);
        let answer = inverter.answer(asked(1, Request::Running), now);
        let bytes = answer.expect("an answer").remove(0).bytes;
        let expected = running(&past, Variant::Kse.payload_len());
        let total = 7 + 59..7 + 63;
        assert_eq!(bytes[total], expected[59..63]);
    }

    /// What a fault makes of two hundred answers, with the right one beside it.
    fn made_by(fault: Fault) -> Vec<(Asked, Vec<u8>, Vec<Outgoing>)> {
        let (mut faulty, mut sound, now) = struck_by(fault);
        (0..200)
            .map(|serial| {
                let request = [Request::Running, Request::DeviceInfo, Request::Settings]
                    [usize::try_from(serial % 3).expect("small")];
                let asked = asked(serial, request);
                let right = sound.answer(asked, now).expect("an answer");
                assert_eq!((right.len(), right[0].sent), (1, Sent::Proper));
                let sent = faulty.answer(asked, now).expect("an answer");
                (asked, right[0].bytes.clone(), sent)
            })
            .collect()
    }

    /// The one datagram that is sent to the request's socket from the inverter's port at once.
    fn single(asked: Asked, fault: Fault, sent: &[Outgoing]) -> &[u8] {
        let [outgoing] = sent else {
            panic!("{fault}: {sent:?}");
        };
        assert_eq!(outgoing.sent, Sent::Faulty(fault));
        assert_eq!(outgoing.answers, Some(asked.serial));
        assert_eq!(outgoing.to, asked.from);
        assert!(!outgoing.from_other_port);
        &outgoing.bytes
    }

    fn is_whole(bytes: &[u8]) -> bool {
        bytes.len() >= 9
            && bytes[..2] == [0xAA, 0x55]
            && bytes.len() == usize::from(bytes[6]) + 9
            && bytes[bytes.len() - 2..] == checksum(&bytes[..bytes.len() - 2]).to_be_bytes()
    }

    #[test]
    fn the_same_seed_sends_the_same_bytes_and_another_seed_others() {
        let now = Instant::now();
        let sent = |seed| {
            let config = Config {
                faults: Faults::parse("all=0.05").expect("faults"),
                ..frozen(seed)
            };
            let mut inverter = Inverter::new(config, now);
            (0..300)
                .map(|serial| inverter.answer(asked(serial, Request::Running), now))
                .collect::<Vec<_>>()
        };
        assert_eq!(sent(1), sent(1));
        assert_ne!(sent(1), sent(2));
    }

    #[test]
    fn every_answer_is_addressed_to_who_asked() {
        let now = Instant::now();
        let mut inverter = Inverter::new(frozen(1), now);
        for master in MASTERS {
            for (request, function, length) in [
                (Request::Running, 0x86, 83),
                (Request::DeviceInfo, 0x82, 77),
                (Request::Settings, 0x89, 86),
            ] {
                let asked = Asked {
                    master,
                    ..asked(0, request)
                };
                let sent = inverter.answer(asked, now).expect("an answer");
                let bytes = &sent[0].bytes;
                assert_eq!(
                    bytes[..7],
                    [0xAA, 0x55, 0x7F, master, 0x01, function, length]
                );
                assert!(is_whole(bytes));
            }
        }
    }

    #[test]
    fn every_variant_has_its_length() {
        let now = Instant::now();
        for variant in [
            Variant::Kse81,
            Variant::Gw95,
            Variant::Gw133,
            Variant::Gw140,
        ] {
            let config = Config {
                variant,
                ..frozen(1)
            };
            let mut inverter = Inverter::new(config, now);
            let sent = inverter
                .answer(asked(0, Request::Running), now)
                .expect("an answer");
            assert_eq!(sent[0].bytes.len(), variant.payload_len() + 9);
        }
    }

    #[test]
    fn time_passes_as_fast_as_it_should() {
        let now = Instant::now();
        let config = Config {
            speed: 3600.0,
            variant: Variant::Gw140,
            ..Config::new(1)
        };
        let mut inverter = Inverter::new(config, now);
        let later = now + Duration::from_millis(2500);
        let sent = inverter
            .answer(asked(0, Request::Running), later)
            .expect("an answer");
        // The clock of the longest form: 2.5 hours after noon of the first day.
        assert_eq!(sent[0].bytes[102..108], [26, 6, 21, 14, 30, 0]);
    }

    #[test]
    fn an_answer_that_is_not_offered_is_withheld() {
        let now = Instant::now();
        let config = Config {
            device_info: None,
            settings: false,
            ..frozen(1)
        };
        let mut inverter = Inverter::new(config, now);
        for (request, withheld) in [
            (Request::DeviceInfo, Some(Withheld::NotOffered)),
            (Request::Settings, Some(Withheld::NotOffered)),
            (Request::Running, None),
        ] {
            assert_eq!(inverter.answer(asked(0, request), now).err(), withheld);
        }
    }

    #[test]
    fn a_sleeping_inverter_wakes_at_the_greeting() {
        let now = Instant::now();
        let config = Config {
            asleep: true,
            ..frozen(1)
        };
        let mut inverter = Inverter::new(config, now);
        let asked = asked(0, Request::Running);
        assert_eq!(inverter.answer(asked, now), Err(Withheld::Asleep));
        inverter.wake();
        assert!(inverter.answer(asked, now).is_ok());
    }

    #[test]
    fn a_dropped_answer_is_not_sent() {
        let (mut inverter, _, now) = struck_by(Fault::Drop);
        let withheld = Err(Withheld::Faulty(Fault::Drop));
        assert_eq!(inverter.answer(asked(0, Request::Running), now), withheld);
    }

    #[test]
    fn a_delayed_answer_is_right_but_late() {
        for (asked, right, sent) in made_by(Fault::Delay) {
            assert_eq!(single(asked, Fault::Delay, &sent), right);
        }
        let (mut inverter, _, now) = struck_by(Fault::Delay);
        inverter.latency = Duration::from_millis(100);
        let sent = inverter
            .answer(asked(0, Request::Running), now)
            .expect("an answer");
        let late = sent[0].due - (now + inverter.latency);
        assert!(Faults::default().delay.contains(&late), "{late:?}");
    }

    #[test]
    fn a_duplicate_is_the_right_answer_and_its_copy() {
        for (_, right, sent) in made_by(Fault::Duplicate) {
            let kinds: Vec<_> = sent.iter().map(|outgoing| outgoing.sent).collect();
            assert_eq!(kinds, [Sent::Proper, Sent::Faulty(Fault::Duplicate)]);
            assert!(sent.iter().all(|outgoing| outgoing.bytes == right));
        }
    }

    #[test]
    fn a_wrong_checksum_is_all_that_is_wrong() {
        for (asked, right, sent) in made_by(Fault::Checksum) {
            let bytes = single(asked, Fault::Checksum, &sent);
            assert_eq!(bytes.len(), right.len());
            assert_eq!(bytes[..7], right[..7]);
            assert!(!is_whole(bytes));
        }
    }

    #[test]
    fn a_stump_is_shorter_than_its_frame_and_may_be_longer_than_a_whole_one() {
        let made = made_by(Fault::Truncate);
        for (asked, _, sent) in &made {
            let bytes = single(*asked, Fault::Truncate, sent);
            assert!(bytes.len() < 7 || bytes.len() < usize::from(bytes[6]) + 9);
            assert!(!bytes.is_empty());
        }
        let lengths = || made.iter().map(|(_, _, sent)| sent[0].bytes.len());
        assert!(lengths().any(|length| length > 92));
        assert!(lengths().any(|length| length < 9));
    }

    #[test]
    fn an_overlong_answer_begins_with_the_right_one() {
        for (asked, right, sent) in made_by(Fault::Overlong) {
            let bytes = single(asked, Fault::Overlong, &sent);
            assert!(bytes.len() > right.len());
            assert_eq!(bytes[..right.len()], right);
        }
    }

    #[test]
    fn a_wrong_header_is_all_that_is_wrong() {
        for (asked, right, sent) in made_by(Fault::Header) {
            let bytes = single(asked, Fault::Header, &sent);
            assert_ne!(bytes[..2], [0xAA, 0x55]);
            assert_eq!(bytes[2..bytes.len() - 2], right[2..right.len() - 2]);
            let sum = checksum(&bytes[..bytes.len() - 2]);
            assert_eq!(bytes[bytes.len() - 2..], sum.to_be_bytes());
        }
    }

    #[test]
    fn a_wrong_address_is_all_that_is_wrong() {
        for (asked, right, sent) in made_by(Fault::Address) {
            let bytes = single(asked, Fault::Address, &sent);
            assert!(is_whole(bytes));
            assert_eq!((right[3], bytes[3]), (0xB0, 0xC0));
            assert_eq!(bytes[4..bytes.len() - 2], right[4..right.len() - 2]);
        }
    }

    #[test]
    fn a_wrong_function_is_a_whole_frame_of_another_kind() {
        for (asked, right, sent) in made_by(Fault::Function) {
            let bytes = single(asked, Fault::Function, &sent);
            assert!(is_whole(bytes));
            assert_ne!(bytes[4..6], right[4..6]);
        }
    }

    #[test]
    fn a_right_answer_may_come_from_another_port() {
        for (_, right, sent) in made_by(Fault::Port) {
            assert_eq!((sent.len(), sent[0].sent), (1, Sent::Faulty(Fault::Port)));
            assert!(sent[0].from_other_port);
            assert_eq!(sent[0].bytes, right);
        }
    }

    #[test]
    fn a_stale_answer_is_of_another_kind_or_late_to_the_last_socket() {
        let mut late = 0;
        for (asked, right, sent) in made_by(Fault::Stale) {
            if let [wrong, proper] = &sent[..] {
                late += 1;
                assert_eq!(wrong.answers, Some(asked.serial - 1));
                assert_eq!(wrong.sent, Sent::Faulty(Fault::Stale));
                assert_ne!(wrong.to, asked.from);
                assert_eq!((proper.sent, &proper.bytes), (Sent::Proper, &right));
            } else {
                let bytes = single(asked, Fault::Stale, &sent);
                assert!(is_whole(bytes));
                assert_ne!(bytes[5], right[5]);
            }
        }
        assert!((50..150).contains(&late), "{late}");
    }

    #[test]
    fn garbage_holds_no_frame() {
        for (asked, _, sent) in made_by(Fault::Garbage) {
            assert!(!single(asked, Fault::Garbage, &sent).contains(&0xAA));
        }
    }

    #[test]
    fn an_echo_is_the_request() {
        for (asked, _, sent) in made_by(Fault::Echo) {
            assert_eq!(single(asked, Fault::Echo, &sent), asked.request.frame(0xB0));
        }
    }

    #[test]
    fn two_frames_glued_together_end_in_the_right_one() {
        for (asked, right, sent) in made_by(Fault::Glued) {
            let bytes = single(asked, Fault::Glued, &sent);
            let (first, second) = bytes.split_at(bytes.len() - right.len());
            assert!(is_whole(first));
            assert_ne!(first[5], right[5]);
            assert_eq!(second, right);
        }
    }

    #[test]
    fn a_silence_lasts_for_its_requests() {
        let (mut inverter, _, now) = struck_by(Fault::Silence);
        let silent = Err(Withheld::Faulty(Fault::Silence));
        inverter.faults.silence = Silence::Requests(3);
        for serial in 0..3 {
            assert_eq!(
                inverter.answer(asked(serial, Request::Running), now),
                silent
            );
            inverter.faults.set(Fault::Silence, 0.0);
        }
        assert!(inverter.answer(asked(3, Request::Running), now).is_ok());
    }

    #[test]
    fn a_silence_lasts_for_its_time() {
        let (mut inverter, _, now) = struck_by(Fault::Silence);
        let silent = Err(Withheld::Faulty(Fault::Silence));
        inverter.faults.silence = Silence::For(Duration::from_secs(30));
        assert_eq!(inverter.answer(asked(0, Request::Running), now), silent);
        inverter.faults = Faults::default();
        for (seconds, ok) in [(1, false), (29, false), (30, true), (31, true)] {
            let then = now + Duration::from_secs(seconds);
            assert_eq!(
                inverter.answer(asked(0, Request::Running), then).is_ok(),
                ok
            );
        }
    }

    #[test]
    fn a_reboot_is_a_silence_and_then_answers_without_measurements() {
        let (mut inverter, mut sound, now) = struck_by(Fault::Reboot);
        inverter.faults.reboot = Silence::Requests(2);
        let right = sound
            .answer(asked(0, Request::Running), now)
            .expect("an answer");
        for serial in 0..2 {
            let silent = Err(Withheld::Faulty(Fault::Reboot));
            assert_eq!(
                inverter.answer(asked(serial, Request::Running), now),
                silent
            );
            inverter.faults.set(Fault::Reboot, 0.0);
        }
        for serial in 2..7 {
            let sent = inverter
                .answer(asked(serial, Request::Running), now)
                .expect("an answer");
            let bytes = &sent[0].bytes;
            assert_eq!(sent[0].sent, Sent::Proper);
            assert!(is_whole(bytes));
            // The lifetime counter goes on; grid voltage and work mode tell that it is starting.
            assert_eq!(bytes[66..70], right[0].bytes[66..70]);
            let starting = serial < 5;
            assert_eq!(
                bytes[41..43] == [0, 0],
                starting,
                "grid voltage of answer {serial}"
            );
            assert_eq!(bytes[59], if starting { 1 } else { 2 });
        }
    }

    #[test]
    fn a_replay_answers_only_requests_for_running_data() {
        let now = Instant::now();
        let config = Config {
            replay: Replay::of(vec![vec![1, 2, 3]]),
            ..frozen(1)
        };
        let mut inverter = Inverter::new(config, now);
        let sent = inverter
            .answer(asked(0, Request::Running), now)
            .expect("an answer");
        assert_eq!(
            (sent[0].sent, &sent[0].bytes[..]),
            (Sent::Replayed, &[1, 2, 3][..])
        );
        let sent = inverter
            .answer(asked(1, Request::Settings), now)
            .expect("an answer");
        assert_eq!(sent[0].sent, Sent::Proper);
    }

    #[test]
    fn every_fault_bears_an_empty_recording() {
        let now = Instant::now();
        for fault in Fault::ALL {
            for recorded in [vec![], vec![7], vec![0xAA, 0x55, 0x7F]] {
                let config = Config {
                    replay: Replay::of(vec![recorded]),
                    faults: Faults::always(fault),
                    ..frozen(1)
                };
                let mut inverter = Inverter::new(config, now);
                for serial in 0..20 {
                    let _ = inverter.answer(asked(serial, Request::Running), now);
                }
            }
        }
    }
}
