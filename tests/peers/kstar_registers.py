"""Registers of a KSTAR hybrid as PROTOCOL-SOLARMAN 3 has them, once more: all input registers."""

# fmt: off
# Register, words, whether signed, resolution (turned where our sign is the other), quantity.
REGISTERS = [
    (3000, 1, False, 0.1, "pv1_voltage"), (3001, 1, False, 0.1, "pv2_voltage"),
    (3012, 1, True, 0.01, "pv1_current"), (3013, 1, True, 0.01, "pv2_current"),
    (3024, 1, True, 1, "pv1_power"), (3025, 1, True, 1, "pv2_power"),
    (3036, 1, False, 0.1, "inverter_pv_energy_today"), (3041, 2, False, 0.1, "inverter_pv_energy_total"),
    (3053, 1, False, 0.1, "bus_voltage"), (3055, 1, True, 0.1, "inverter_temperature"),
    (3056, 1, True, 0.1, "battery_heatsink_temperature"), (3057, 1, True, 0.1, "case_temperature"),
    (3063, 1, False, 0.01, "battery_voltage"), (3064, 1, True, -0.1, "battery_current"), (3065, 1, True, -1, "battery_power"),
    (3066, 1, False, 0.1, "battery_soc"), (3067, 1, True, 0.1, "battery_temperature"), (3075, 1, False, 0.1, "battery_soh"),
    (3097, 1, False, 0.1, "grid_voltage"), (3098, 1, False, 0.01, "grid_frequency"),
    (3101, 1, False, 0.1, "grid_l2_voltage"), (3105, 1, False, 0.1, "grid_l3_voltage"),
    (3100, 1, True, -1, "grid_l1_power"), (3104, 1, True, -1, "grid_l2_power"), (3108, 1, True, -1, "grid_l3_power"),
    (3109, 1, False, 0.1, "inverter_grid_import_energy_today"), (3114, 2, False, 0.1, "inverter_grid_import_energy_total"),
    (3116, 1, False, 0.1, "inverter_grid_export_energy_today"), (3121, 2, False, 0.1, "inverter_grid_export_energy_total"),
    (3123, 1, False, 0.1, "inverter_voltage"), (3124, 1, True, 0.01, "inverter_current"), (3125, 1, False, 0.01, "inverter_frequency"),
    (3126, 1, True, 1, "inverter_l1_power"), (3130, 1, True, 1, "inverter_l2_power"), (3134, 1, True, 1, "inverter_l3_power"),
    (3135, 1, False, 0.1, "backup_voltage"), (3137, 1, False, 1, "backup_l1_power"), (3140, 1, False, 1, "backup_l2_power"),
    (3144, 1, False, 1, "load_l1_power"), (3145, 1, False, 1, "load_l2_power"), (3146, 1, False, 1, "load_l3_power"),
    (3147, 1, False, 0.1, "load_energy_today"), (3152, 2, False, 0.1, "load_energy_total"),
    (3294, 1, False, 0.1, "inverter_battery_discharge_energy_today"), (3301, 1, False, 0.1, "inverter_battery_charge_energy_today"),
]
# fmt: on


def value(registers, register, words, is_signed, resolution):
    """What stands in registers, the high word first."""
    raw = 0
    for word in range(words):
        raw = raw << 16 | registers[register + word]
    if is_signed and raw >= 1 << (16 * words - 1):
        raw -= 1 << (16 * words)
    return raw * resolution


def disagreements(registers, line):
    """Each value of a line that is not what the registers say."""
    found = []
    for *place, quantity in REGISTERS:
        expected = value(registers, *place)
        # The line has whole percents, and a tenth where the register has a hundredth.
        tolerance = 0.5 if quantity in ("battery_soc", "battery_soh") else 0.05
        if abs(line.get(quantity, 1e9) - expected) > tolerance + 1e-9:
            found.append(f"{quantity}: {line.get(quantity)}, and the registers say {expected}")
    return found
