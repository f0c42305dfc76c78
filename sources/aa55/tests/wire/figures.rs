//! Raw figures of six captures of a KSE4000 (PROTOCOL 10), and frames built from such figures.
//!
//! The tests, the benchmark and the fuzzer's seeds all begin here, so that none of them needs a file.

/// The captures' names, one for each column of [`FIGURES`].
pub(crate) const CAPTURES: [&str; 6] = [
    "idle-charge-1",
    "idle-charge-3",
    "import-charge-1",
    "import-charge-2",
    "import-charge-4",
    "import-discharge-heavy",
];

/// The sum that each capture ends in. A slip in [`FIGURES`] does not add up to it.
pub(crate) const CHECKSUMS: [u16; 6] = [0x0ac3, 0x0ad3, 0x0cb7, 0x0cca, 0x0c8b, 0x0d79];

/// The length of a KSE's payload.
pub(crate) const KSE_LENGTH: usize = 83;

/// Offset, width in bytes, and the integer that stands there in each capture; all other bytes are 0.
#[rustfmt::skip]
pub(crate) const FIGURES: [(usize, usize, [u32; 6]); 35] = [
    (0, 2, [1621, 1604, 1673, 1624, 1644, 1500]), // vpv1
    (2, 2, [7, 8, 6, 4, 7, 45]), // ipv1
    (4, 1, [2, 2, 2, 2, 2, 2]), // pv1_mode
    (5, 2, [1732, 1765, 1785, 1769, 1785, 1569]), // vpv2
    (7, 2, [17, 16, 13, 11, 9, 66]), // ipv2
    (9, 1, [2, 2, 2, 2, 2, 2]), // pv2_mode
    (10, 2, [506, 506, 493, 492, 492, 507]), // vbattery1
    (18, 2, [4, 4, 0, 0, 0, 283]), // ibattery1
    (24, 2, [256, 256, 256, 256, 256, 256]), // bms_error
    (26, 1, [71, 71, 50, 50, 50, 76]), // battery_soc
    (28, 1, [71, 71, 50, 50, 50, 76]), // soc copy
    (30, 1, [3, 3, 3, 3, 3, 2]), // battery_mode
    (34, 2, [2351, 2353, 2360, 2365, 2369, 2337]), // vgrid
    (36, 2, [18, 18, 16, 14, 13, 120]), // igrid
    (38, 2, [3, 2, 303, 384, 360, 6746]), // pgrid
    (40, 2, [4992, 4993, 5012, 5012, 5009, 5003]), // fgrid
    (42, 1, [1, 1, 1, 1, 1, 1]), // grid_mode
    (43, 2, [2351, 2353, 2360, 2365, 2369, 2337]), // vload
    (45, 2, [5, 5, 5, 5, 5, 5]), // iload
    (47, 2, [315, 315, 594, 639, 591, 9304]), // pload
    (49, 2, [4992, 4993, 5012, 5012, 5009, 5003]), // fload
    (51, 1, [1, 1, 1, 1, 1, 1]), // load_mode
    (52, 1, [2, 2, 2, 2, 2, 2]), // work_mode
    (53, 2, [301, 301, 252, 252, 252, 414]), // temperature
    (55, 4, [0, 0, 0, 0, 0, 0]), // error_codes
    (59, 4, [13475, 13475, 13980, 13980, 13980, 14682]), // e_total
    (63, 4, [3911, 3911, 4078, 4078, 4078, 4239]), // h_total
    (67, 2, [57, 57, 35, 35, 35, 38]), // e_day
    (69, 2, [58, 58, 68, 68, 68, 35]), // e_load_day
    (71, 4, [16656, 16656, 17446, 17446, 17446, 18134]), // e_load_total
    (75, 2, [423, 418, 374, 329, 300, 2764]), // total_power
    (77, 1, [1, 1, 1, 1, 1, 1]), // effective_work_mode
    (78, 2, [48, 48, 48, 48, 48, 48]), // effective_relay_control
    (80, 1, [0, 0, 2, 2, 2, 2]), // grid_in_out
    (81, 2, [1, 1, 1, 1, 1, 3]), // pback_up
];

/// The type of a reply with running data.
pub(crate) const RUNNING: [u8; 2] = [0x01, 0x86];

/// From the inverter to one who asked as B0.
pub(crate) const TO_B0: [u8; 2] = [0x7f, 0xb0];

/// A payload of zeros with the lowest `width` bytes of each figure at its offset.
pub(crate) fn payload(
    length: usize,
    figures: impl IntoIterator<Item = (usize, usize, u32)>,
) -> Vec<u8> {
    let mut payload = vec![0; length];
    for (offset, width, figure) in figures {
        payload[offset..offset + width].copy_from_slice(&figure.to_be_bytes()[4 - width..]);
    }
    payload
}

/// The payload of one column of [`FIGURES`].
pub(crate) fn capture(column: usize) -> Vec<u8> {
    payload(
        KSE_LENGTH,
        FIGURES.map(|(offset, width, figures)| (offset, width, figures[column])),
    )
}

/// A frame around a payload, with its sum.
pub(crate) fn frame(addresses: [u8; 2], kind: [u8; 2], payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a payload is shorter than 256 bytes");
    let mut bytes = [&[0xaa, 0x55], &addresses, &kind, &[length][..], payload].concat();
    let sum = bytes
        .iter()
        .fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
    bytes.extend(sum.to_be_bytes());
    bytes
}
