import type { ModelProperty } from '../../api/resources.ts'

/**
 * One word for one thing in the whole catalogue, so that a dashboard finds `power` in every meter. A unit says which
 * quantity a property is, and the quantity has to be in its name: V and `voltage`, `voltageL1`, `batteryVoltage`.
 */
const QUANTITY: Readonly<Record<string, RegExp>> = {
  V: /voltage/i,
  A: /current/i,
  W: /power/i,
  VA: /apparentPower/i,
  var: /reactivePower/i,
  kWh: /energy/i,
  kvarh: /reactiveEnergy/i,
  Hz: /frequency|speed/i,
  degC: /temperature|setpoint|dewPoint/i,
  K: /temperature/i,
  hPa: /pressure/i,
  '1/min': /speed/i,
  s: /acceleration|deceleration|time|interval|uptime|duration|delay/i,
  min: /time|duration/i,
  ppm: /co2|tvoc|concentration/i,
  'm/s': /speed/i,
  lx: /illuminance/i,
  m: /distance|level|depth|altitude/i,
  mm: /distance|level|depth|rain/i,
  deg: /angle|direction|tilt/i,
  dBm: /rssi|transmitPower/i,
  dB: /snr/i,
  'W/m2': /irradiance/i,
  'm/s2': /acceleration/i,
  'uS/cm': /conductivity/i,
  'ug/m3': /pm1|pm25|pm10|tvoc/i,
  Nm: /torque/i,
  '%': /humidity|battery|efficiency|level|torque|speed|moisture|correction|brightness|linkQuality|thermalState|position|load/i,
  '1': /factor/i,
}

/** What the twin has to know of a property by that name. */
const ROLES: Readonly<Record<string, string>> = {
  battery: 'battery',
  power: 'power',
  energy: 'energy',
  temperature: 'temperature',
}

/** What breaks the house's rules of naming, in words. */
export function oddNames({ name, unit, type, role }: ModelProperty): string[] {
  const odd: string[] = []
  if (!/^[a-z][a-zA-Z0-9]*$/.test(name)) odd.push(`${name} is not camelCase`)
  if (unit !== undefined) {
    const words = QUANTITY[unit]
    if (words === undefined) odd.push(`${name}: '${unit}' is no unit of the catalogue`)
    else if (!words.test(name)) odd.push(`${name} is in ${unit}, which is ${words.source}`)
    if (type !== 'int' && type !== 'float') odd.push(`${name} has a unit but is no number`)
  }
  const due = Object.hasOwn(ROLES, name) ? ROLES[name] : undefined
  if (due !== undefined && role !== due && (type === 'int' || type === 'float')) odd.push(`${name} needs role ${due}`)
  return odd
}
