//! What a poll brings: the fields of PROTOCOL section 10, six energies counted from powers, and how long the reply took.
//! With the time they are as many columns as the collector's row of a KSE has.

pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) decimals: u32,
    field: Field,
}

#[derive(Clone, Copy)]
enum Field {
    /// Offset in the payload, and how many bytes.
    Bytes(usize, usize),
    /// Which of the meter's totals, in watt hours.
    Energy(usize),
    ReplyTime,
}

const fn bytes(name: &'static str, offset: usize, width: usize, decimals: u32) -> Column {
    Column {
        name,
        decimals,
        field: Field::Bytes(offset, width),
    }
}

const fn energy(name: &'static str, total: usize) -> Column {
    Column {
        name,
        decimals: 3,
        field: Field::Energy(total),
    }
}

pub(crate) const COLUMNS: [Column; 49] = [
    bytes("pv1_voltage", 0, 2, 1),
    bytes("pv1_current", 2, 2, 1),
    bytes("pv1_mode", 4, 1, 0),
    bytes("pv2_voltage", 5, 2, 1),
    bytes("pv2_current", 7, 2, 1),
    bytes("pv2_mode", 9, 1, 0),
    bytes("battery_voltage", 10, 2, 1),
    bytes("battery_current", 18, 2, 1),
    bytes("bms_errors", 24, 2, 0),
    bytes("battery_soc", 26, 1, 0),
    bytes("battery_soc_2", 27, 1, 0),
    bytes("battery_soc_3", 28, 1, 0),
    bytes("battery_mode", 30, 1, 0),
    bytes("battery_warnings", 31, 2, 0),
    bytes("grid_voltage", 34, 2, 1),
    bytes("grid_current", 36, 2, 1),
    bytes("grid_power", 38, 2, 0),
    bytes("grid_frequency", 40, 2, 2),
    bytes("grid_mode", 42, 1, 0),
    bytes("backup_voltage", 43, 2, 1),
    bytes("backup_current", 45, 2, 1),
    bytes("load_power", 47, 2, 0),
    bytes("backup_frequency", 49, 2, 2),
    bytes("backup_mode", 51, 1, 0),
    bytes("inverter_state", 52, 1, 0),
    bytes("inverter_temperature", 53, 2, 1),
    bytes("errors", 55, 4, 0),
    bytes("energy_total", 59, 4, 1),
    bytes("operating_hours", 63, 4, 0),
    bytes("energy_today", 67, 2, 1),
    bytes("load_energy_today", 69, 2, 1),
    bytes("load_energy_total", 71, 4, 1),
    bytes("inverter_power", 75, 2, 0),
    bytes("work_mode", 77, 1, 0),
    bytes("relays", 78, 2, 0),
    bytes("grid_direction", 80, 1, 0),
    energy("pv_energy_today", 0),
    energy("pv_energy_total", 0),
    energy("grid_import_energy_today", 1),
    energy("grid_import_energy_total", 1),
    energy("grid_export_energy_today", 2),
    energy("grid_export_energy_total", 2),
    energy("battery_charge_energy_today", 3),
    energy("battery_charge_energy_total", 3),
    energy("battery_discharge_energy_today", 4),
    energy("battery_discharge_energy_total", 4),
    energy("consumption_energy_today", 5),
    energy("consumption_energy_total", 5),
    Column {
        name: "reply_time",
        decimals: 0,
        field: Field::ReplyTime,
    },
];

pub(crate) const METERED: [&str; 6] = [
    "pv",
    "grid_import",
    "grid_export",
    "battery_charge",
    "battery_discharge",
    "consumption",
];

/// Energies since the start, in hundredths of a watt times milliseconds.
#[derive(Default)]
pub(crate) struct Meter {
    pub(crate) totals: [i64; METERED.len()],
    pub(crate) last_ms: i64,
}

/// How much of that is a watt hour.
const WATT_HOUR: i64 = 100 * 3_600_000;

pub(crate) struct Values {
    pub(crate) time_ms: i64,
    pub(crate) columns: [i64; COLUMNS.len()],
}

pub(crate) fn values(payload: &[u8], time_ms: i64, reply_ms: i64, meter: &mut Meter) -> Values {
    count(payload, time_ms, meter);
    let columns = COLUMNS.map(|column| match column.field {
        Field::Bytes(offset, width) => number(payload, offset, width),
        Field::Energy(total) => meter.totals.get(total).map_or(0, |sum| sum / WATT_HOUR),
        Field::ReplyTime => reply_ms,
    });
    Values { time_ms, columns }
}

fn count(payload: &[u8], time_ms: i64, meter: &mut Meter) {
    let word = |offset| number(payload, offset, 2);
    let flag = |offset, wanted| i64::from(number(payload, offset, 1) == wanted);
    let battery = word(10) * word(18);
    let grid = word(38) * 100;
    let powers = [
        word(0) * word(2) + word(5) * word(7),
        grid * flag(80, 2),
        grid * flag(80, 1),
        battery * flag(30, 3),
        battery * flag(30, 2),
        (word(47) + word(81)) * 100,
    ];
    let passed = if meter.last_ms == 0 {
        0
    } else {
        time_ms - meter.last_ms
    };
    for (total, power) in meter.totals.iter_mut().zip(powers) {
        *total += power * passed;
    }
    meter.last_ms = time_ms;
}

/// Big-endian; 0 beyond the payload's end.
fn number(payload: &[u8], offset: usize, width: usize) -> i64 {
    let bytes = payload.get(offset..offset + width).unwrap_or_default();
    bytes
        .iter()
        .fold(0, |sum, &byte| sum << 8 | i64::from(byte))
}
