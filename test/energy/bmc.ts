import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { eventually } from '../harness/until.ts'

export interface SimulatedBmc extends AsyncDisposable {
  readonly port: number
  readonly passwordFile: string
  /** Sets what its power sensor measures; multiples of 2 up to 510. */
  measure(watts: number): void
  /** What it answers to DCMI: watts, `off`, or a completion code such as `d4`. Only with `dcmi`. */
  dcmi(says: number | string): void
}

export interface BmcOptions {
  /** Without it the BMC does not know DCMI at all. */
  readonly dcmi?: number | string
  /** Default true. */
  readonly sensor?: boolean
}

const PASSWORD = 'not-a-secret-1'
const SENSOR_NAME = 'Pwr Consumption'

/** OpenIPMI's `ipmi_sim` as the BMC: RMCP+ on a port of its own and one sensor in watts that follows a file. */
export async function startBmc({ dcmi, sensor: hasSensor = true }: BmcOptions = {}): Promise<SimulatedBmc> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bmc-'))
  const port = await freePort()
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text, { mode: 0o600 })
    return join(folder, name)
  }
  const sensor = file('watts', '21\n')
  const passwordFile = file('password', `${PASSWORD}\n`)
  const dcmiFile = file('dcmi', `${dcmi ?? 'c1'}\n`)
  const module = dcmi === undefined ? '' : `loadlib "${dcmiModule(folder)}" "${dcmiFile}"\n`
  const lan = file('lan.conf', module + lanConf(port))
  const commands = file('cmd.conf', commandsFor(hasSensor ? sensor : undefined))
  const state = mkdtempSync(join(folder, 'state-'))
  const child: ChildProcess = spawn('ipmi_sim', ['-c', lan, '-f', commands, '-s', state, '-n', '-p'], {
    stdio: ['ignore', 'ignore', 'ignore'],
  })
  const session = ['-I', 'lanplus', '-C', '3', '-H', '127.0.0.1', '-p', String(port), '-U', 'admin', '-f', passwordFile]
  await eventually(
    () => spawnSync('ipmitool', [...session, 'mc', 'info'], { stdio: 'ignore' }).status === 0,
    'an answer of the simulated BMC',
  )
  return {
    port,
    passwordFile,
    measure: (watts) => writeFileSync(sensor, `${watts / 2}\n`),
    dcmi: (says) => writeFileSync(dcmiFile, `${says}\n`),
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null) {
        child.kill('SIGKILL')
        await once(child, 'exit')
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** `dcmi.c` beside this file, built for this run. */
function dcmiModule(folder: string): string {
  const built = join(folder, 'dcmi.so')
  const { status, stderr } = spawnSync('cc', [
    '-shared',
    '-fPIC',
    '-o',
    built,
    fileURLToPath(new URL('dcmi.c', import.meta.url)),
  ])
  if (status !== 0) throw new Error(`dcmi.c does not build: ${stderr}`)
  return built
}

async function freePort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  return port
}

const lanConf = (port: number): string => `name "bmc"
set_working_mc 0x20
startlan 1
  addr 127.0.0.1 ${port}
  priv_limit admin
  allowed_auths_callback none md2 md5 straight
  allowed_auths_user none md2 md5 straight
  allowed_auths_operator none md2 md5 straight
  allowed_auths_admin none md2 md5 straight
  guid a123456789abcdefa123456789abcdef
endlan
user 1 false "" "" user 10 none md2 md5 straight
user 2 true "admin" "${PASSWORD}" admin 10 none md2 md5 straight
`

/** A full sensor record (IPMI 2.0, table 43-1): unsigned, watts, M = 2. */
function commandsFor(sensorFile: string | undefined): string {
  const name = [...Buffer.from(SENSOR_NAME)]
  const body = [
    ...[0x20, 0x00, 0x01, 0x07, 0x01, 0x67, 0x40, 0x0b, 0x01],
    ...[0, 0, 0, 0, 0, 0, 0x00, 0x06, 0x00, 0x00, 2, 0, 0, 0, 0, 0, 0],
    ...[0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ...[0xc0 | name.length, ...name],
  ]
  const record = [0x00, 0x00, 0x51, 0x01, body.length, ...body]
  const hex = (bytes: readonly number[]) => bytes.map((byte) => `0x${byte.toString(16).padStart(2, '0')}`).join(' ')
  return `mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
${sensorFile === undefined ? '' : sensorCommands(sensorFile, hex(record))}mc_enable 0x20
`
}

const sensorCommands = (file: string, record: string): string => `sensor_add 0x20 0 1 0x0b 0x01 poll 200 file "${file}"
sensor_set_event_support 0x20 0 1 disable scanning per-state 000000000000000 000000000000000 000000000000000 000000000000000
main_sdr_add 0x20 ${record}
`
