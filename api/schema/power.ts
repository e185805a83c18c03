import type { Static } from 'typebox'
import { flag, integer, keyedList, listOf, number, object, optional, text, timestamp, word } from './parts.ts'

/**
 * The one vocabulary for power, energy, batteries, temperature and networks: of a gateway in `Gateway.status`, of its
 * pods and devices in the local API and the metrics. Watts, joules, seconds, degrees Celsius, dBm, bits per second.
 *
 * Every figure says where it comes from. `measured`: read from a sensor or a meter. `estimated`: computed from a model,
 * and then `errorPercent` says how far it may be off. A figure that nobody can know is absent, never zero.
 */
export const FIGURE_SOURCES = ['measured', 'estimated'] as const

const origin = {
  source: word(FIGURE_SOURCES),
  by: text({
    maxLength: 128,
    description: 'What was read: rapl, battery, hwmon:ina226, pmic, dcmi, device:plant/meter-1, model.',
  }),
  errorPercent: optional(number({ minimum: 0, description: 'Standard error of the figure, where it is known.' })),
  reason: optional(text({ maxLength: 256, description: 'Why the figure is worth less than it could be.' })),
}

/** A forecast with the interval it lies in with nine chances of ten. */
const forecast = () =>
  object({
    seconds: number({ minimum: 0 }),
    lowSeconds: number({ minimum: 0 }),
    highSeconds: number({ minimum: 0 }),
  })

export const powerStatus = () =>
  object({
    watts: number({ minimum: 0 }),
    ...origin,
    supply: optional(word(['mains', 'battery', 'unknown'])),
    at: timestamp(),
  })

export const energyStatus = () =>
  object({
    sinceBootJ: optional(number({ minimum: 0 })),
    todayJ: optional(number({ minimum: 0, description: "Since midnight of the gateway's own time zone." })),
    ...origin,
    /** Grams of CO2 equivalent of `todayJ`, where the intensity of the supply is known. */
    todayCarbonG: optional(number({ minimum: 0 })),
    carbonGPerKWh: optional(number({ minimum: 0 })),
    /** What the supply will emit, hour by hour, where a forecast was given. */
    carbonForecast: optional(
      object({
        from: timestamp({ description: 'Beginning of the first hour.' }),
        gPerKWh: listOf(integer({ minimum: 0, maximum: 10_000 }), { maxItems: 48, description: 'Of each hour.' }),
      }),
    ),
    /** What the agent itself took of `todayJ`. */
    agentTodayJ: optional(number({ minimum: 0 })),
    at: timestamp(),
  })

export const batteryStatus = () =>
  object({
    percent: optional(number({ minimum: 0, maximum: 100 })),
    state: word(['charging', 'discharging', 'full', 'idle', 'unknown']),
    volts: optional(number()),
    watts: optional(number({ description: 'Into the battery when positive, out of it when negative.' })),
    energyJ: optional(number({ minimum: 0 })),
    fullJ: optional(number({ minimum: 0 })),
    designJ: optional(number({ minimum: 0 })),
    cycles: optional(integer({ minimum: 0 })),
    celsius: optional(number()),
    packs: optional(integer({ minimum: 1 })),
    timeToEmpty: optional(forecast()),
    timeToFull: optional(forecast()),
    ...origin,
    at: timestamp(),
  })

export const thermalStatus = () =>
  object({
    celsius: optional(number({ description: 'The hottest zone.' })),
    zones: optional(keyedList(object({ name: text({ maxLength: 63 }), celsius: number() }), 'name', { maxItems: 32 })),
    throttled: flag({ description: 'Slowed down right now, by heat or for want of voltage.' }),
    reasons: optional(listOf(text({ maxLength: 128 }), { maxItems: 8 })),
    at: timestamp(),
  })

/** A network interface that leads out of the gateway; the way to the hub is marked. */
export const networkStatus = () =>
  object({
    name: text({ maxLength: 15 }),
    kind: word(['wifi', 'ethernet', 'cellular', 'other']),
    up: flag(),
    toHub: optional(flag()),
    signalDbm: optional(number()),
    noiseDbm: optional(number()),
    snrDb: optional(number()),
    /** 0 unusable to 1 perfect: from signal on a radio, from errors on a wire. */
    quality: optional(number({ minimum: 0, maximum: 1 })),
    trend: optional(word(['improving', 'steady', 'degrading'])),
    bitrateBps: optional(number({ minimum: 0 })),
    retryRatio: optional(number({ minimum: 0, maximum: 1 })),
    beaconLoss: optional(integer({ minimum: 0 })),
    errorRatio: optional(number({ minimum: 0, maximum: 1 })),
    accessPoint: optional(text({ maxLength: 64, description: 'The station it is associated with.' })),
    roams: optional(integer({ minimum: 0 })),
  })

export type PowerStatus = Static<ReturnType<typeof powerStatus>>
export type EnergyStatus = Static<ReturnType<typeof energyStatus>>
export type BatteryStatus = Static<ReturnType<typeof batteryStatus>>
export type ThermalStatus = Static<ReturnType<typeof thermalStatus>>
export type NetworkStatus = Static<ReturnType<typeof networkStatus>>
export type Forecast = Static<ReturnType<typeof forecast>>
