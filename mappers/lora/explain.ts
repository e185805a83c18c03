import type { DeviceBinding, PlanExplanation, PlannedRequest } from '../sdk/mapper.ts'
import { airtimeMs } from './airtime.ts'
import { DATA_OVERHEAD } from './codec.ts'
import { compileDevice, type LoraDevice } from './device-config.ts'
import { sizeOf } from './layout.ts'
import { bindingOf } from './point.ts'
import { dutyBandOf, type Region } from './regions/region.ts'
import { span } from './twin-feed.ts'

/** Taken where a decoder hides how long the payload is. */
const ASSUMED_PAYLOAD = 12
const ASSUMED_EVERY_MS = 600_000
const HOUR_MS = 3_600_000

/** The plan as it would be made without ever having heard the device; key files are not read. */
export const explainBinding = (binding: DeviceBinding): PlanExplanation => {
  const device = compileDevice(binding, () => ({ appKey: '0'.repeat(32) }))
  return explainDevice(device, ['nothing was heard yet: spreading factor and period are assumptions'], undefined)
}

export function explainDevice(
  device: LoraDevice,
  notes: readonly string[],
  learntMs: number | undefined,
): PlanExplanation {
  const { region } = device
  const everyMs = device.everyMs ?? learntMs ?? ASSUMED_EVERY_MS
  const uplinks = uplinkRows(device, everyMs)
  const slowest = Math.max(...uplinks.map(({ busMs }) => busMs))
  const duty = shareOf(region)
  const network = {
    local: `the gateway's own server (${device.regionName})`,
    chirpstack: 'ChirpStack',
    tts: 'The Things Stack',
  }
  return {
    device: device.key,
    link: `${network[device.network.kind]}, DevEUI ${device.devEui}, class ${device.deviceClass}`,
    requests: [...uplinks, ...downlinkRows(device, everyMs)],
    load: uplinks[0]!.busMs / everyMs,
    naiveLoad: uplinks[0]!.busMs / everyMs,
    notes: [
      ...dutyNotes(duty, slowest, everyMs),
      device.deviceClass === 'A'
        ? `a desired value waits for the device's next uplink: up to ${span(everyMs)}`
        : 'a desired value is sent at once (class C)',
      ...notes,
    ],
  }
}

const shareOf = (region: Region): number | undefined => dutyBandOf(region, region.channels[0]!.frequencyHz)?.share

function dutyNotes(share: number | undefined, slowestMs: number, everyMs: number): string[] {
  if (share === undefined) return []
  const least = slowestMs / share
  const allowance = `the band allows ${share * 100} % of airtime, ${(share * HOUR_MS) / 1000} s an hour: one uplink every ${span(least)} at the slowest rate`
  return everyMs < least
    ? [`${allowance}; this device means to report every ${span(everyMs)} and cannot at that rate`]
    : [allowance]
}

/** One row at the fastest rate and one at the slowest: what the same payload costs near and far from the gateway. */
function uplinkRows(device: LoraDevice, everyMs: number): PlannedRequest[] {
  const { region, points } = device
  const payload = payloadBytes(device)
  const carried = points.filter(({ source }) => source !== 'none').map(({ name }) => name)
  const known = points.some(({ source }) => source === 'layout')
  return [region.maxAdrDr, region.minDr].flatMap((dr) => {
    const rate = region.dataRates[dr]
    if (rate === undefined || rate.fsk === true) return []
    return [
      {
        request: `uplink, ${payload} bytes${known ? '' : ' (assumed)'} at SF${rate.sf}/${rate.bandwidthHz / 1000} kHz`,
        everyMs,
        properties: carried,
        busMs: round(airtimeMs(payload + DATA_OVERHEAD + 1, rate)),
        why:
          dr === region.maxAdrDr
            ? 'close to a gateway: rate adaptation brings a device here'
            : 'far from a gateway: the slowest rate',
      },
    ]
  })
}

function downlinkRows({ points, region }: LoraDevice, everyMs: number): PlannedRequest[] {
  const rate = region.dataRates[region.rx2.dr]
  if (rate === undefined || rate.fsk === true) return []
  return points
    .filter(({ write }) => write !== undefined)
    .map(({ name, property, write }) => {
      const downlink = bindingOf(property)?.downlink
      const fixed = ((downlink?.prefix?.length ?? 0) + (downlink?.suffix?.length ?? 0)) / 2
      const bytes = downlink?.as === undefined ? ASSUMED_PAYLOAD : fixed + sizeOf(downlink.as)
      return {
        request: `downlink, ${bytes} bytes${downlink?.as === undefined ? ' (assumed)' : ''} at SF${rate.sf} in the second window${write!.confirmed ? ', confirmed' : ''}`,
        everyMs,
        properties: [name],
        busMs: round(airtimeMs(bytes + DATA_OVERHEAD + 1, rate, { crc: false })),
        why: 'only when the desired value changes; the first window is as fast as the uplink',
      }
    })
}

function payloadBytes({ points }: LoraDevice): number {
  let bytes = 0
  for (const { source, property } of points) {
    const binding = bindingOf(property)
    if (source !== 'layout' || binding?.at === undefined) continue
    const size = sizeOf(binding.as ?? 'uint8', binding.length)
    bytes = Math.max(bytes, binding.at >= 0 ? binding.at + size : -binding.at)
  }
  return bytes === 0 ? ASSUMED_PAYLOAD : bytes
}

const round = (value: number): number => Math.round(value * 10) / 10
