import { existsSync } from 'node:fs'
import type { Clock } from '../../api/clock.ts'
import { type RunTool, runTool, SlowProbe, ToolFailure } from './slow-probe.ts'
import type { EnergySource, Sample, SourceHealth } from './source.ts'

/** A BMC answers in tens of milliseconds to seconds, and each question is a process. */
const EVERY_MS = 15_000
const TIMEOUT_MS = 10_000
const DEVICES = ['/dev/ipmi0', '/dev/ipmi/0', '/dev/ipmidev/0']

export interface IpmiConfig {
  /** A BMC on the network; without it the one of this machine. */
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly user?: string | undefined
  /** File on the gateway with the password in its first line: never an argument, where everybody could read it. */
  readonly passwordFile?: string | undefined
  /** A power sensor by its name, where the BMC does not speak DCMI. Default: any sensor in watts. */
  readonly sensor?: string | undefined
}

/** A BMC that was found without DCMI is asked for it again after so many readings of its sensor: five minutes. */
const DCMI_AGAIN = 20

/** Watts of `ipmitool dcmi power reading`, or why there are none: switched off is not zero. */
export function dcmiWatts(output: string): number | 'off' | undefined {
  if (/Power reading state is:\s*deactivated/i.test(output)) return 'off'
  const watts = /Instantaneous power reading:\s*(\d+)\s*Watts/i.exec(output)?.[1]
  return watts === undefined ? undefined : Number(watts)
}

/** The BMC answered, and gave no watts. */
class NoWatts extends Error {
  readonly state: 'absent' | 'forbidden'
  readonly remedy: string | undefined

  constructor(message: string, state: 'absent' | 'forbidden', remedy?: string) {
    super(message)
    this.state = state
    this.remedy = remedy
  }
}

/**
 * Watts of `ipmitool sdr` or `sensor reading` lines. Of several, the one that is named, or else the one whose name says
 * that it is the whole. Supplies are not added: redundant ones may or may not share the load.
 */
export function sensorWatts(output: string, name: string | undefined): number | undefined {
  const found: { readonly name: string; readonly watts: number }[] = []
  for (const line of output.split('\n')) {
    const [label = '', ...fields] = line.split('|').map((field) => field.trim())
    const watts = fields
      .map((field) => /^(-?\d+(?:\.\d+)?)\s*Watts$/i.exec(field)?.[1])
      .find((match) => match !== undefined)
    // `ipmitool sensor` has the unit in a column of its own.
    const split = fields[1]?.toLowerCase() === 'watts' ? fields[0] : undefined
    const value = Number(watts ?? split ?? Number.NaN)
    if (Number.isFinite(value)) found.push({ name: label, watts: value })
  }
  if (name !== undefined) return found.find((sensor) => sensor.name === name)?.watts
  if (found.length === 1) return found[0]!.watts
  return found.find((sensor) => /^(pwr consumption|system level|total|sys.*power|power meter|power)/i.test(sensor.name))
    ?.watts
}

/** The power that a BMC measures, by DCMI or by a sensor, through `ipmitool`. */
export class IpmiSource implements EnergySource {
  readonly name = 'ipmi'
  readonly #config: IpmiConfig | undefined
  readonly #probe: SlowProbe<{ readonly watts: number; readonly by: string }>
  readonly #device: () => boolean
  #withoutDcmi = 0
  #whyNoDcmi: NoWatts | undefined
  #oldCipher = false

  /** Without a configuration the BMC of this machine is asked, where the kernel shows one. */
  constructor(config: IpmiConfig | undefined, clock: Clock, run: RunTool = runTool, device = hasDevice) {
    this.#config = config
    this.#device = device
    this.#probe = new SlowProbe({ clock, everyMs: EVERY_MS, probe: (signal) => this.#turn(run, signal) })
  }

  discover(): void {
    if (this.#config !== undefined || this.#device()) this.#probe.start()
  }

  async #turn(run: RunTool, signal: AbortSignal): Promise<{ watts: number; by: string }> {
    try {
      return await this.#ask(run, signal)
    } catch (error) {
      // ipmitool asks for cipher suite 17; a BMC that only has the older 3 then opens no session, and does not say why.
      if (this.#config?.host !== undefined && !this.#probe.answered) this.#oldCipher = !this.#oldCipher
      throw error
    }
  }

  async #ask(run: RunTool, signal: AbortSignal): Promise<{ watts: number; by: string }> {
    const options = { signal, timeoutMs: TIMEOUT_MS }
    const target = targetOf(this.#config, this.#oldCipher)
    const sensor = this.#config?.sensor
    const byDcmi =
      sensor === undefined && this.#withoutDcmi === 0 ? await this.#askDcmi(run, target, options) : undefined
    if (byDcmi !== undefined && byDcmi > 0) return { watts: byDcmi, by: 'dcmi' }
    this.#withoutDcmi = (this.#withoutDcmi + 1) % DCMI_AGAIN
    const watts = sensorWatts(await run('ipmitool', [...target, 'sensor', 'list'], options), sensor)
    if (watts !== undefined) return { watts, by: 'ipmi' }
    // A BMC may say nought for want of a reading; that is shown as what it said, with a doubt.
    if (byDcmi !== undefined) return { watts: byDcmi, by: 'dcmi' }
    this.#withoutDcmi = 0
    throw sensor === undefined
      ? (this.#whyNoDcmi ?? NO_SENSOR)
      : new Error(`The BMC has no sensor "${sensor}" in watts`)
  }

  async #askDcmi(
    run: RunTool,
    target: readonly string[],
    options: { readonly signal: AbortSignal; readonly timeoutMs: number },
  ): Promise<number | undefined> {
    let output: string
    try {
      output = await run('ipmitool', [...target, 'dcmi', 'power', 'reading'], options)
    } catch (error) {
      // Only a BMC that answered may say that it does not know DCMI; one that cannot be reached says nothing.
      const said = messageOf(error)
      if (!/DCMI request failed/i.test(said)) throw error
      this.#whyNoDcmi = /\(d4\)/i.test(said) ? FORBIDDEN : NO_SENSOR
      return undefined
    }
    const watts = dcmiWatts(output)
    this.#whyNoDcmi = watts === 'off' ? SWITCHED_OFF : undefined
    return watts === 'off' ? undefined : watts
  }

  sample(sample: Sample): void {
    const newest = this.#probe.newest()
    if (newest === undefined || newest.value.watts < 0) return
    const { watts, by } = newest.value
    const doubt = watts === 0 ? { doubt: ZERO } : {}
    sample.meters.push({ meter: 'ipmi', by, covers: 'machine', source: 'measured', watts, errorPercent: 5, ...doubt })
  }

  health(): readonly SourceHealth[] {
    const source = this.name
    const { error } = this.#probe
    if (this.#config === undefined && !this.#device()) {
      return [{ source, state: 'absent', reason: 'This machine shows no BMC' }]
    }
    if (error instanceof ToolFailure && error.missing) {
      const remedy = 'apt-get install ipmitool'
      return [{ source, state: 'absent', reason: 'ipmitool is not installed', remedy }]
    }
    if (error instanceof ToolFailure && error.forbidden) {
      const remedy = 'Let the agent open /dev/ipmi0: a udev rule KERNEL=="ipmi*", GROUP="sluice", MODE="0660".'
      return [{ source, state: 'forbidden', reason: error.message, remedy }]
    }
    if (error instanceof NoWatts) {
      const { state, message, remedy } = error
      return [{ source, state, reason: message, ...(remedy === undefined ? {} : { remedy }) }]
    }
    if (error !== undefined) return [{ source, state: 'faulty', reason: messageOf(error) }]
    const watts = this.#probe.newest()?.value.watts
    if (watts !== undefined && watts < 0) return [{ source, state: 'faulty', reason: `The BMC says ${watts} W` }]
    if (watts === undefined) return [{ source, state: 'absent', reason: 'The BMC has not answered yet' }]
    return [{ source, state: 'ok', ...(watts === 0 ? { reason: ZERO } : {}) }]
  }

  [Symbol.dispose](): void {
    this.#probe[Symbol.dispose]()
  }
}

const ZERO = 'The BMC says 0 W, which a machine that runs cannot take'
const NO_SENSOR = new NoWatts(
  'The BMC speaks no DCMI and has no single sensor in watts',
  'absent',
  'Name a sensor of it with spec.energy.ipmi.sensor; `ipmitool sensor list` shows them.',
)
const SWITCHED_OFF = new NoWatts(
  'The BMC knows DCMI, its power measurement is switched off, and it has no single sensor in watts',
  'absent',
  'Switch power measurement on at the BMC, or name a sensor with spec.energy.ipmi.sensor.',
)
const FORBIDDEN = new NoWatts(
  'This user may not read the power at the BMC',
  'forbidden',
  'Give the user of spec.energy.ipmi the privilege OPERATOR at the BMC.',
)

const hasDevice = (): boolean => DEVICES.some((path) => existsSync(path))

function targetOf(config: IpmiConfig | undefined, oldCipher: boolean): string[] {
  if (config?.host === undefined) return []
  const { host, port, user, passwordFile } = config
  return [
    // Three tries of a second each: a BMC that is there answers within one.
    ...['-I', 'lanplus', '-N', '1', '-R', '3', '-H', host],
    ...(oldCipher ? ['-C', '3'] : []),
    ...(port === undefined ? [] : ['-p', String(port)]),
    ...(user === undefined ? [] : ['-U', user]),
    ...(passwordFile === undefined ? [] : ['-f', passwordFile]),
  ]
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
