//! Frames as an inverter builds them.
//!
//! It shares nothing with the decoder, neither a table of offsets nor the checksum: a mistake made twice would
//! otherwise pass every test that lets the two talk to each other. The offsets are those of the protocol notes,
//! written down a second time, and the frames are checked against sums taken from real inverters.

/// The greeting that a radio module answers on its discovery port.
pub const GREETING: &[u8; 19] = b"WIFIKIT-214028-READ";

/// What modules of the same make answer as well.
pub const ASSIST_GREETING: &[u8; 17] = b"HF-A11ASSISTHREAD";

/// The addresses a collector may ask from: KSTAR's own app uses the first, GoodWe's tools the second.
pub const MASTERS: [u8; 2] = [0xB0, 0xC0];

/// The address of an inverter that no master has registered.
const INVERTER: u8 = 0x7F;

/// What may be asked of an inverter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    /// What it measures right now (0106).
    Running,
    /// Who it is (0102).
    DeviceInfo,
    /// How it is set (0109).
    Settings,
}

impl Request {
    /// The request that a datagram is, and the address it asks from. `None` for anything that differs in one byte
    /// from the six frames a collector may send.
    pub fn parse(datagram: &[u8]) -> Option<(Self, u8)> {
        let &[0xAA, 0x55, master, INVERTER, 0x01, function, 0x00, _, _] = datagram else {
            return None;
        };
        let request = match function {
            0x02 => Self::DeviceInfo,
            0x06 => Self::Running,
            0x09 => Self::Settings,
            _ => return None,
        };
        let known = MASTERS.contains(&master) && datagram == request.frame(master);
        known.then_some((request, master))
    }

    /// The frame that asks this from an address.
    pub fn frame(self, master: u8) -> Vec<u8> {
        frame([master, INVERTER], [0x01, self.function()], &[])
    }

    fn function(self) -> u8 {
        match self {
            Self::DeviceInfo => 0x02,
            Self::Running => 0x06,
            Self::Settings => 0x09,
        }
    }

    /// The reply to this request, addressed to who asked.
    pub fn reply(self, master: u8, payload: &[u8]) -> Vec<u8> {
        frame([INVERTER, master], [0x01, self.function() | 0x80], payload)
    }
}

/// The acknowledgement of a write that somebody else sent: a proper frame that answers no request of a reader.
pub fn acknowledgement(master: u8) -> Vec<u8> {
    frame([INVERTER, master], [0x03, 0x9D], &[0x06])
}

/// The two addresses (from, to), control and function code, length, payload and checksum.
fn frame(addresses: [u8; 2], codes: [u8; 2], payload: &[u8]) -> Vec<u8> {
    // The length field has one byte; no payload of this module comes near that.
    let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
    let payload = payload.get(..usize::from(length)).unwrap_or(payload);
    let mut bytes = Vec::with_capacity(payload.len() + 9);
    bytes.extend([0xAA, 0x55]);
    bytes.extend(addresses);
    bytes.extend(codes);
    bytes.push(length);
    bytes.extend(payload);
    let sum = checksum(&bytes);
    bytes.extend(sum.to_be_bytes());
    bytes
}

/// The plain sum of all bytes before it, cut to 16 bits.
pub fn checksum(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(0, |sum: u16, byte| sum.wrapping_add(u16::from(*byte)))
}

/// The same frame for another master: byte 3 and the checksum change. `None` for what is too short to have both.
pub fn readdressed(datagram: &[u8], master: u8) -> Option<Vec<u8>> {
    let length = usize::from(*datagram.get(6)?);
    let mut bytes = datagram.to_vec();
    *bytes.get_mut(3)? = master;
    let sum = checksum(bytes.get(..length + 7)?);
    bytes
        .get_mut(length + 7..length + 9)?
        .copy_from_slice(&sum.to_be_bytes());
    Some(bytes)
}

/// Which inverter is played: how long its running data are, and whether a battery management system talks to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variant {
    /// A KSTAR KSE4000: 83 bytes, a lead-acid bank without management.
    #[default]
    Kse,
    /// An older KSTAR of 81 bytes, which says nothing of its back-up output.
    Kse81,
    /// A GoodWe ES of 95 bytes.
    Gw95,
    /// A GoodWe EM of 133 bytes, with a clock.
    Gw133,
    /// A GoodWe ES or EM since about 2020, of 140 bytes.
    Gw140,
}

impl Variant {
    /// Bytes of running data.
    pub fn payload_len(self) -> usize {
        match self {
            Self::Kse => 83,
            Self::Kse81 => 81,
            Self::Gw95 => 95,
            Self::Gw133 => 133,
            Self::Gw140 => 140,
        }
    }

    /// Whether the battery has a management system that talks to the inverter.
    pub fn has_bms(self) -> bool {
        !matches!(self, Self::Kse | Self::Kse81)
    }
}

/// The running data as they stand on the wire: integers before any scaling, in the order of their offsets.
///
/// The names are those of the protocol notes. Everything that is zero in all captures of a KSE is zero by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub vpv1: u16,
    pub ipv1: u16,
    pub pv1_mode: u8,
    pub vpv2: u16,
    pub ipv2: u16,
    pub pv2_mode: u8,
    pub vbattery1: u16,
    pub battery_status: u16,
    pub battery_temperature: i16,
    pub ibattery1: u16,
    pub battery_charge_limit: u16,
    pub battery_discharge_limit: u16,
    pub bms_error: u16,
    pub battery_soc: u8,
    pub battery_soh: u8,
    pub battery_mode: u8,
    pub meter_status: u8,
    pub vgrid: u16,
    pub igrid: u16,
    pub pgrid: u16,
    pub fgrid: u16,
    pub grid_mode: u8,
    pub vload: u16,
    pub iload: u16,
    pub pload: i16,
    pub fload: u16,
    pub load_mode: u8,
    pub work_mode: u8,
    pub temperature: i16,
    pub error_codes: u32,
    pub e_total: u32,
    pub h_total: u32,
    pub e_day: u16,
    pub e_load_day: u16,
    pub e_load_total: u32,
    pub total_power: i16,
    pub effective_work_mode: u8,
    pub effective_relay_control: u16,
    pub grid_in_out: u8,
    pub pback_up: i16,
    pub diagnostics: u32,
    /// Year since 2000, month, day, hour, minute, second.
    pub clock: [u8; 6],
    pub e_battery_charge_total: u32,
    pub e_battery_discharge_total: u32,
}

/// Running data of a given length; what does not fit completely is left out.
pub fn running(figures: &Figures, length: usize) -> Vec<u8> {
    let mut payload = Payload(vec![0; length]);
    payload.put(0, figures.vpv1.to_be_bytes());
    payload.put(2, figures.ipv1.to_be_bytes());
    payload.put(4, [figures.pv1_mode]);
    payload.put(5, figures.vpv2.to_be_bytes());
    payload.put(7, figures.ipv2.to_be_bytes());
    payload.put(9, [figures.pv2_mode]);
    payload.put(10, figures.vbattery1.to_be_bytes());
    payload.put(14, figures.battery_status.to_be_bytes());
    payload.put(16, figures.battery_temperature.to_be_bytes());
    payload.put(18, figures.ibattery1.to_be_bytes());
    payload.put(20, figures.battery_charge_limit.to_be_bytes());
    payload.put(22, figures.battery_discharge_limit.to_be_bytes());
    payload.put(24, figures.bms_error.to_be_bytes());
    payload.put(26, [figures.battery_soc]);
    payload.put(28, [figures.battery_soc]);
    payload.put(29, [figures.battery_soh]);
    payload.put(30, [figures.battery_mode]);
    payload.put(33, [figures.meter_status]);
    payload.put(34, figures.vgrid.to_be_bytes());
    payload.put(36, figures.igrid.to_be_bytes());
    payload.put(38, figures.pgrid.to_be_bytes());
    payload.put(40, figures.fgrid.to_be_bytes());
    payload.put(42, [figures.grid_mode]);
    payload.put(43, figures.vload.to_be_bytes());
    payload.put(45, figures.iload.to_be_bytes());
    payload.put(47, figures.pload.to_be_bytes());
    payload.put(49, figures.fload.to_be_bytes());
    payload.put(51, [figures.load_mode]);
    payload.put(52, [figures.work_mode]);
    payload.put(53, figures.temperature.to_be_bytes());
    payload.put(55, figures.error_codes.to_be_bytes());
    payload.put(59, figures.e_total.to_be_bytes());
    payload.put(63, figures.h_total.to_be_bytes());
    payload.put(67, figures.e_day.to_be_bytes());
    payload.put(69, figures.e_load_day.to_be_bytes());
    payload.put(71, figures.e_load_total.to_be_bytes());
    payload.put(75, figures.total_power.to_be_bytes());
    payload.put(77, [figures.effective_work_mode]);
    payload.put(78, figures.effective_relay_control.to_be_bytes());
    payload.put(80, [figures.grid_in_out]);
    payload.put(81, figures.pback_up.to_be_bytes());
    // Constant in every capture that is long enough.
    payload.put(83, 1_u16.to_be_bytes());
    payload.put(89, figures.diagnostics.to_be_bytes());
    payload.put(95, figures.clock);
    payload.put(125, figures.e_battery_charge_total.to_be_bytes());
    payload.put(129, figures.e_battery_discharge_total.to_be_bytes());
    payload.put(133, [2]);
    payload.0
}

/// The forms in which inverters say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceInfo {
    /// 77 bytes of text, as GoodWe's ES, EM and BP answer.
    #[default]
    Text77,
    /// 64 bytes of text, as the vendor's paper has it and KSTAR's app reads it.
    Text64,
    /// 76 bytes, binary but for the serial number, as GoodWe's second generation answers.
    Binary76,
}

/// The device info of an inverter with this serial (16 characters) and model (10).
pub fn device_info(form: DeviceInfo, serial: &str, model: &str) -> Vec<u8> {
    let length = match form {
        DeviceInfo::Text77 => 77,
        DeviceInfo::Text64 => 64,
        DeviceInfo::Binary76 => 76,
    };
    let mut payload = Payload(vec![0; length]);
    payload.text(31, 16, serial, 0);
    if form == DeviceInfo::Binary76 {
        payload.put(0, [0x00, 0x02, 0x00, 0x02, 0x05]);
        payload.text(63, 12, "\u{e}02020-00-S", 0);
        payload.put(75, [5]);
    } else {
        payload.text(0, 5, "1414E", b' ');
        payload.text(5, 10, model, b' ');
        payload.text(15, 16, "KSTAR", 0);
        payload.text(47, 4, "3600", b' ');
        payload.text(51, 12, "410-01001-14", b' ');
        payload.put(63, [32]);
        payload.text(64, 12, "410-02001-14", b' ');
        payload.put(76, [1]);
    }
    payload.0
}

/// Settings as an owner might have them: no charging windows, a bank of 200 Ah, never below this state of charge.
pub fn settings(lowest_soc: u8) -> Vec<u8> {
    let mut payload = Payload(vec![0; 86]);
    // Hour 48 is how an unset window looks.
    for window in [0, 6] {
        payload.put(window, [48, 0, 48, 0]);
        payload.put(window + 4, 100_u16.to_be_bytes());
    }
    for (offset, value) in [
        (12, 1_u16),
        (14, 1),
        (16, 0),
        (18, 1),
        (22, 200),
        (24, 532),
        (26, 50),
        (28, 50),
        (30, 445),
        (32, u16::from(lowest_soc)),
        (34, 1),
        (42, 100),
        (52, 10_000),
        (56, 1),
        (66, 0),
        (68, 1),
    ] {
        payload.put(offset, value.to_be_bytes());
    }
    payload.0
}

/// A reply's payload while it is being filled in.
struct Payload(Vec<u8>);

impl Payload {
    fn put<const WIDTH: usize>(&mut self, offset: usize, bytes: [u8; WIDTH]) {
        if let Some(field) = self.0.get_mut(offset..offset + WIDTH) {
            field.copy_from_slice(&bytes);
        }
    }

    fn text(&mut self, offset: usize, width: usize, text: &str, padding: u8) {
        if let Some(field) = self.0.get_mut(offset..offset + width) {
            let bytes = text.bytes().chain(std::iter::repeat(padding));
            for (place, byte) in field.iter_mut().zip(bytes) {
                *place = byte;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the six captures of the protocol notes, section 10, have in common.
    fn kse() -> Figures {
        Figures {
            pv1_mode: 2,
            pv2_mode: 2,
            bms_error: 256,
            battery_mode: 3,
            grid_mode: 1,
            iload: 5,
            load_mode: 1,
            work_mode: 2,
            effective_work_mode: 1,
            effective_relay_control: 48,
            pback_up: 1,
            ..Figures::default()
        }
    }

    fn check(figures: &Figures, checksum: [u8; 2]) -> Vec<u8> {
        let reply = Request::Running.reply(0xB0, &running(figures, 83));
        assert_eq!(reply.len(), 92);
        assert_eq!(reply[..7], [0xAA, 0x55, 0x7F, 0xB0, 0x01, 0x86, 83]);
        assert_eq!(reply[90..], checksum, "{figures:?}");
        reply
    }

    #[test]
    fn an_idle_inverter_that_charges_is_encoded_as_captured() {
        let first = Figures {
            vpv1: 1621,
            ipv1: 7,
            vpv2: 1732,
            ipv2: 17,
            vbattery1: 506,
            ibattery1: 4,
            battery_soc: 71,
            vgrid: 2351,
            igrid: 18,
            pgrid: 3,
            fgrid: 4992,
            vload: 2351,
            pload: 315,
            fload: 4992,
            temperature: 301,
            e_total: 13475,
            h_total: 3911,
            e_day: 57,
            e_load_day: 58,
            e_load_total: 16656,
            total_power: 423,
            ..kse()
        };
        check(&first, [0x0A, 0xC3]);
        let third = Figures {
            vpv1: 1604,
            ipv1: 8,
            vpv2: 1765,
            ipv2: 16,
            vgrid: 2353,
            pgrid: 2,
            fgrid: 4993,
            vload: 2353,
            fload: 4993,
            total_power: 418,
            ..first
        };
        check(&third, [0x0A, 0xD3]);
    }

    #[test]
    fn an_importing_inverter_is_encoded_as_captured() {
        let first = Figures {
            vpv1: 1673,
            ipv1: 6,
            vpv2: 1785,
            ipv2: 13,
            vbattery1: 493,
            battery_soc: 50,
            vgrid: 2360,
            igrid: 16,
            pgrid: 303,
            fgrid: 5012,
            vload: 2360,
            pload: 594,
            fload: 5012,
            temperature: 252,
            e_total: 13980,
            h_total: 4078,
            e_day: 35,
            e_load_day: 68,
            e_load_total: 17446,
            total_power: 374,
            grid_in_out: 2,
            ..kse()
        };
        check(&first, [0x0C, 0xB7]);
        let second = Figures {
            vpv1: 1624,
            ipv1: 4,
            vpv2: 1769,
            ipv2: 11,
            vbattery1: 492,
            vgrid: 2365,
            igrid: 14,
            pgrid: 384,
            vload: 2365,
            pload: 639,
            total_power: 329,
            ..first.clone()
        };
        check(&second, [0x0C, 0xCA]);
        let fourth = Figures {
            vpv1: 1644,
            ipv1: 7,
            vpv2: 1785,
            ipv2: 9,
            vbattery1: 492,
            vgrid: 2369,
            igrid: 13,
            pgrid: 360,
            fgrid: 5009,
            vload: 2369,
            pload: 591,
            fload: 5009,
            total_power: 300,
            ..first
        };
        check(&fourth, [0x0C, 0x8B]);
    }

    #[test]
    fn a_heavy_discharge_is_encoded_byte_for_byte_as_captured() {
        let figures = Figures {
            vpv1: 1500,
            ipv1: 45,
            vpv2: 1569,
            ipv2: 66,
            vbattery1: 507,
            ibattery1: 283,
            battery_soc: 76,
            battery_mode: 2,
            vgrid: 2337,
            igrid: 120,
            pgrid: 6746,
            fgrid: 5003,
            vload: 2337,
            pload: 9304,
            fload: 5003,
            temperature: 414,
            e_total: 14682,
            h_total: 4239,
            e_day: 38,
            e_load_day: 35,
            e_load_total: 18134,
            total_power: 2764,
            grid_in_out: 2,
            pback_up: 3,
            ..kse()
        };
        let reply = check(&figures, [0x0D, 0x79]);
        let captured = "aa557fb001865305dc002d02062100420201fb000000000000011b0000000001004c004c0002000000092100781a\
                        5a138b01092100052458138b0102019e000000000000395a0000108f00260023000046d60acc0100300200030d79";
        assert_eq!(hex(&reply), captured);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    #[test]
    fn the_six_requests_are_recognized_and_nothing_else() {
        for (text, request, master) in [
            ("aa55b07f0102000231", Request::DeviceInfo, 0xB0),
            ("aa55b07f0106000235", Request::Running, 0xB0),
            ("aa55b07f0109000238", Request::Settings, 0xB0),
            ("aa55c07f0102000241", Request::DeviceInfo, 0xC0),
            ("aa55c07f0106000245", Request::Running, 0xC0),
            ("aa55c07f0109000248", Request::Settings, 0xC0),
        ] {
            let frame = request.frame(master);
            assert_eq!(hex(&frame), text);
            assert_eq!(Request::parse(&frame), Some((request, master)));
            for place in 0..frame.len() {
                let mut wrong = frame.clone();
                wrong[place] ^= 1;
                assert_eq!(Request::parse(&wrong), None, "{}", hex(&wrong));
            }
        }
        assert_eq!(Request::parse(GREETING), None);
        assert_eq!(Request::parse(&[]), None);
        // Another address with its right sum: nobody this simulator knows.
        assert_eq!(Request::parse(&Request::Running.frame(0xAB)), None);
    }

    #[test]
    fn a_field_that_does_not_fit_is_left_out() {
        let figures = Figures {
            grid_in_out: 2,
            pback_up: 3,
            clock: [22, 5, 17, 12, 30, 15],
            ..Figures::default()
        };
        let short = running(&figures, 81);
        assert_eq!((short.len(), short[80]), (81, 2));
        assert_eq!(running(&figures, 82)[81], 0);
        assert_eq!(running(&figures, 100)[95..], [0; 5]);
        assert_eq!(running(&figures, 133)[95..101], [22, 5, 17, 12, 30, 15]);
    }

    #[test]
    fn a_readdressed_frame_has_the_checksum_of_its_new_master() {
        let payload = running(&kse(), 83);
        let kstar = Request::Running.reply(0xB0, &payload);
        let goodwe = Request::Running.reply(0xC0, &payload);
        assert_eq!(readdressed(&kstar, 0xC0), Some(goodwe));
        assert_eq!(readdressed(&kstar[..50], 0xC0), None);
        assert_eq!(readdressed(&[0xAA], 0xC0), None);
    }

    #[test]
    fn a_device_info_holds_serial_and_model_where_the_apps_look() {
        for (form, length) in [(DeviceInfo::Text77, 77), (DeviceInfo::Text64, 64)] {
            let payload = device_info(form, "KSE4000SIM000001", "KSE4000");
            assert_eq!(payload.len(), length);
            assert_eq!(payload[5..15], *b"KSE4000   ");
            assert_eq!(payload[31..47], *b"KSE4000SIM000001");
        }
        let payload = device_info(DeviceInfo::Binary76, "KSE4000SIM000001", "KSE4000");
        assert_eq!(payload.len(), 76);
        assert_eq!(payload[5..15], [0; 10]);
        assert_eq!(payload[31..47], *b"KSE4000SIM000001");
    }

    #[test]
    fn settings_fill_86_bytes() {
        let payload = settings(20);
        assert_eq!(payload.len(), 86);
        assert_eq!(payload[..4], [48, 0, 48, 0]);
        assert_eq!(payload[22..24], [0, 200]);
        assert_eq!(payload[32..34], [0, 20]);
    }
}
