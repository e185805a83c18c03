import { execFile } from 'node:child_process'

/** What nl80211 says of a wireless interface, asked by `iw`. */
export interface StationLook {
  readonly accessPoint: string | undefined
  readonly ssid: string | undefined
  readonly frequencyMHz: number | undefined
  readonly signalDbm: number | undefined
  readonly noiseDbm: number | undefined
  /** Of what this side sends. */
  readonly bitrateBps: number | undefined
  /** Retries by frames sent, since the association. */
  readonly retryRatio: number | undefined
  readonly beaconLoss: number | undefined
}

const TIMEOUT_MS = 3_000
const MAX_OUTPUT_BYTES = 64 * 1024
const INTERFACE_NAME = /^[A-Za-z0-9_.@-]{1,15}$/

export type RunIw = (args: readonly string[]) => Promise<string>

/** Runs `iw`; rejects where it is missing, hangs for three seconds or answers more than 64 KiB. */
export const runIw: RunIw = (args) =>
  new Promise((resolve, reject) => {
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }
    execFile('iw', [...args], { timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES, env }, (error, stdout) => {
      if (error === null) resolve(stdout)
      else reject(error)
    })
  })

/** Three questions to nl80211 about one interface. Undefined where `iw` is missing or nothing could be asked. */
export async function lookAtStation(interfaceName: string, iw: RunIw = runIw): Promise<StationLook | undefined> {
  if (!INTERFACE_NAME.test(interfaceName) || interfaceName.startsWith('-')) return undefined
  const ask = (...args: string[]) => iw(['dev', interfaceName, ...args]).catch(() => undefined)
  const [link, stations, survey] = await Promise.all([ask('link'), ask('station', 'dump'), ask('survey', 'dump')])
  if (link === undefined) return undefined
  const connected = /^Connected to ([0-9a-f:]{17})/im.exec(link)?.[1]?.toLowerCase()
  const station = stationOf(stations ?? '', connected)
  const sent = numberOf(station, /^\s*tx packets:\s*(\d+)/m)
  const retries = numberOf(station, /^\s*tx retries:\s*(\d+)/m)
  return {
    accessPoint: connected,
    ssid: /^\s*SSID: (.{1,64})$/m.exec(link)?.[1],
    frequencyMHz: numberOf(link, /^\s*freq:\s*(\d+(?:\.\d+)?)/m),
    signalDbm: numberOf(link, /^\s*signal:\s*(-?\d+(?:\.\d+)?)\s*dBm/m),
    noiseDbm: noiseInUse(survey ?? ''),
    bitrateBps: megabits(numberOf(link, /^\s*tx bitrate:\s*(\d+(?:\.\d+)?)\s*MBit\/s/m)),
    retryRatio:
      sent === undefined || retries === undefined || sent + retries === 0 ? undefined : retries / (sent + retries),
    beaconLoss: numberOf(station, /^\s*beacon loss:\s*(\d+)/m),
  }
}

/** The part of a station dump that is about the access point. */
function stationOf(dump: string, accessPoint: string | undefined): string {
  if (accessPoint === undefined) return ''
  const parts = dump.split(/^(?=Station )/m)
  return parts.find((part) => part.toLowerCase().startsWith(`station ${accessPoint}`)) ?? ''
}

const noiseInUse = (survey: string): number | undefined =>
  survey
    .split(/^(?=Survey data)/m)
    .filter((part) => part.includes('[in use]'))
    .map((part) => numberOf(part, /^\s*noise:\s*(-?\d+)\s*dBm/m))
    .find((noise) => noise !== undefined)

const megabits = (value: number | undefined): number | undefined => (value === undefined ? undefined : value * 1e6)

function numberOf(text: string, pattern: RegExp): number | undefined {
  const found = pattern.exec(text)?.[1]
  const value = Number(found)
  return found === undefined || !Number.isFinite(value) ? undefined : value
}
