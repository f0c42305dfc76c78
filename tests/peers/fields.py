"""goodwe's names of values and ours, with what brings its value to ours."""

PV_MODES = ["not_connected", "no_power", "producing"]
BATTERY_MODES = ["no_battery", "standby", "discharging", "charging", "to_be_charged", "to_be_discharged"]
BACKUP_MODES = ["disconnected", "connected"]
ET_WORK_MODES = ["wait", "normal_on_grid", "normal_off_grid", "fault", "updating", "check"]
DT_WORK_MODES = ["wait", "normal_on_grid", "fault", "unknown_3", "check"]


def same(value):
    return value


def turned(value):
    """goodwe counts discharging and export as positive."""
    return -value


def flags(value):
    """How many bits are set: the line names each."""
    return value.bit_count()


def clock(value):
    return str(value).replace(" ", "T")


def label_of(labels):
    return lambda code: labels[code]


# fmt: off
ET = [
    ("timestamp", "inverter_clock", clock), ("work_mode", "work_mode", label_of(ET_WORK_MODES)),
    ("vpv1", "pv1_voltage", same), ("ipv1", "pv1_current", same), ("ppv1", "pv1_power", same),
    ("vpv2", "pv2_voltage", same), ("ipv2", "pv2_current", same), ("ppv2", "pv2_power", same), ("ppv", "pv_power", same),
    ("pv1_mode", "pv1_mode", label_of(PV_MODES)), ("pv2_mode", "pv2_mode", label_of(PV_MODES)),
    ("vgrid", "grid_voltage", same), ("vgrid2", "grid_l2_voltage", same), ("vgrid3", "grid_l3_voltage", same),
    ("igrid", "inverter_current", same), ("igrid2", "inverter_l2_current", same), ("igrid3", "inverter_l3_current", same),
    ("pgrid", "inverter_l1_power", same), ("pgrid2", "inverter_l2_power", same), ("pgrid3", "inverter_l3_power", same),
    ("fgrid", "grid_frequency", same), ("total_inverter_power", "inverter_power", same), ("active_power", "grid_power", turned),
    ("backup_v1", "backup_voltage", same), ("backup_i1", "backup_current", same), ("backup_f1", "backup_frequency", same),
    ("load_mode1", "backup_mode", label_of(BACKUP_MODES)),
    ("backup_v2", "backup_l2_voltage", same), ("backup_i2", "backup_l2_current", same),
    ("backup_v3", "backup_l3_voltage", same), ("backup_i3", "backup_l3_current", same),
    ("backup_p1", "backup_l1_power", same), ("backup_p2", "backup_l2_power", same), ("backup_p3", "backup_l3_power", same),
    ("load_p1", "load_l1_power", same), ("load_p2", "load_l2_power", same), ("load_p3", "load_l3_power", same),
    ("backup_ptotal", "backup_power", same), ("load_ptotal", "load_power", same),
    ("temperature_air", "air_temperature", same), ("temperature", "inverter_temperature", same), ("bus_voltage", "bus_voltage", same),
    ("vbattery1", "battery_voltage", same), ("ibattery1", "battery_current", turned), ("pbattery1", "battery_power", turned),
    ("battery_mode", "battery_mode", label_of(BATTERY_MODES)), ("error_codes", "errors", flags), ("diagnose_result", "diagnostics", flags),
    ("e_total", "inverter_pv_energy_total", same), ("e_day", "inverter_pv_energy_today", same),
    ("e_total_exp", "energy_total", same), ("e_day_exp", "energy_today", same), ("h_total", "operating_hours", same),
    ("e_load_total", "load_energy_total", same), ("e_load_day", "load_energy_today", same),
    ("e_bat_charge_total", "inverter_battery_charge_energy_total", same), ("e_bat_charge_day", "inverter_battery_charge_energy_today", same),
    ("e_bat_discharge_total", "inverter_battery_discharge_energy_total", same),
    ("e_bat_discharge_day", "inverter_battery_discharge_energy_today", same),
    ("battery_temperature", "battery_temperature", same), ("battery_charge_limit", "battery_charge_limit", same),
    ("battery_discharge_limit", "battery_discharge_limit", same), ("battery_soc", "battery_soc", same), ("battery_soh", "battery_soh", same),
    ("battery_max_cell_temp", "battery_cell_temperature_max", same), ("battery_min_cell_temp", "battery_cell_temperature_min", same),
    ("battery_max_cell_voltage", "battery_cell_voltage_max", same), ("battery_min_cell_voltage", "battery_cell_voltage_min", same),
    ("battery_error_l", "battery_alarms", flags), ("battery_warning_l", "bms_warnings", flags),
    ("meter_active_power1", "grid_l1_power", turned), ("meter_active_power2", "grid_l2_power", turned),
    ("meter_active_power3", "grid_l3_power", turned),
    ("meter_e_total_exp", "inverter_grid_export_energy_total", same), ("meter_e_total_imp", "inverter_grid_import_energy_total", same),
]

DT = [
    ("timestamp", "inverter_clock", clock), ("work_mode", "work_mode", label_of(DT_WORK_MODES)),
    ("vpv1", "pv1_voltage", same), ("ipv1", "pv1_current", same), ("vpv2", "pv2_voltage", same), ("ipv2", "pv2_current", same),
    ("ppv", "pv_power", same),
    ("vgrid1", "grid_voltage", same), ("vgrid2", "grid_l2_voltage", same), ("vgrid3", "grid_l3_voltage", same),
    ("igrid1", "inverter_current", same), ("igrid2", "inverter_l2_current", same), ("igrid3", "inverter_l3_current", same),
    ("fgrid1", "grid_frequency", same), ("total_inverter_power", "inverter_power", same), ("error_codes", "errors", flags),
    ("temperature", "inverter_temperature", same), ("e_day", "energy_today", same), ("e_total", "energy_total", same),
    ("h_total", "operating_hours", same), ("vbus", "bus_voltage", same), ("derating_mode", "derating", flags),
]
# fmt: on

# What a line has that no single value of goodwe's is.
OURS = {
    "schema": "the form of the line",
    "time": "when it was read",
    "inverter": "its name in the configuration",
    "reply_time": "how long it took",
    "grid_direction": "follows from the power at the grid",
    "battery2_voltage": "goodwe reads the second battery of large machines only",
    "battery2_current": "goodwe reads the second battery of large machines only",
    "battery2_power": "goodwe reads the second battery of large machines only",
    "battery2_soc": "goodwe reads the second battery of large machines only",
    "battery2_mode": "goodwe reads the second battery of large machines only",
}


def disagreements(fields, theirs, line, exceptions):
    """Each value of a line that is not goodwe's, without the exceptions; an exception that agrees is one too."""
    known = {ours: (name, bring) for name, ours, bring in fields}
    found = []
    for ours, value in line.items():
        if ours in OURS:
            continue
        if ours not in known:
            found.append(f"{ours}: goodwe has no such value")
            continue
        name, bring = known[ours]
        value = len(value) if isinstance(value, list) else value
        expected = bring(theirs[name])
        # A hundredth of a kWh is coarser than goodwe's watt hours, and it rounds a string's power to whole watts.
        tolerance = 1.5 if name == "ppv" and isinstance(value, float) else 0.005 + 1e-9
        agrees = abs(value - expected) <= tolerance if isinstance(expected, (int, float)) else value == expected
        if agrees == (ours in exceptions):
            found.append(f"{ours}: {value}, and {name} of goodwe is {expected}")
    for name, ours, _ in fields:
        if ours not in line and ours not in exceptions:
            found.append(f"{name}: {theirs.get(name)}, and there is no {ours}")
    return found
