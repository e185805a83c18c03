/**
 * MAC commands 02 to 0D (LoRaWAN L2 1.0.4 section 5; 0B and 0C are of 1.1 and only recognised). Every command is a
 * little-endian number whose fields follow each other from the lowest bit, so one table says it all.
 */

type Field = readonly [name: string, bits: number, signed?: 'signed']

interface Layout {
  readonly cid: number
  readonly up: boolean
  readonly fields: readonly Field[]
}

const RFU = '-'

const LAYOUTS = {
  LinkCheckReq: { cid: 0x02, up: true, fields: [] },
  LinkCheckAns: {
    cid: 0x02,
    up: false,
    fields: [
      ['margin', 8],
      ['gateways', 8],
    ],
  },
  LinkADRReq: {
    cid: 0x03,
    up: false,
    fields: [
      ['txPower', 4],
      ['dataRate', 4],
      ['chMask', 16],
      ['nbTrans', 4],
      ['chMaskCntl', 3],
      [RFU, 1],
    ],
  },
  LinkADRAns: {
    cid: 0x03,
    up: true,
    fields: [
      ['chMaskAck', 1],
      ['dataRateAck', 1],
      ['powerAck', 1],
      [RFU, 5],
    ],
  },
  DutyCycleReq: {
    cid: 0x04,
    up: false,
    fields: [
      ['maxDutyCycle', 4],
      [RFU, 4],
    ],
  },
  DutyCycleAns: { cid: 0x04, up: true, fields: [] },
  RXParamSetupReq: {
    cid: 0x05,
    up: false,
    fields: [
      ['rx2DataRate', 4],
      ['rx1DrOffset', 3],
      [RFU, 1],
      ['frequency', 24],
    ],
  },
  RXParamSetupAns: {
    cid: 0x05,
    up: true,
    fields: [
      ['channelAck', 1],
      ['rx2Ack', 1],
      ['rx1Ack', 1],
      [RFU, 5],
    ],
  },
  DevStatusReq: { cid: 0x06, up: false, fields: [] },
  DevStatusAns: {
    cid: 0x06,
    up: true,
    fields: [
      ['battery', 8],
      ['margin', 6, 'signed'],
      [RFU, 2],
    ],
  },
  NewChannelReq: {
    cid: 0x07,
    up: false,
    fields: [
      ['channel', 8],
      ['frequency', 24],
      ['minDataRate', 4],
      ['maxDataRate', 4],
    ],
  },
  NewChannelAns: {
    cid: 0x07,
    up: true,
    fields: [
      ['frequencyAck', 1],
      ['dataRateAck', 1],
      [RFU, 6],
    ],
  },
  RXTimingSetupReq: {
    cid: 0x08,
    up: false,
    fields: [
      ['delay', 4],
      [RFU, 4],
    ],
  },
  RXTimingSetupAns: { cid: 0x08, up: true, fields: [] },
  TxParamSetupReq: {
    cid: 0x09,
    up: false,
    fields: [
      ['maxEirp', 4],
      ['uplinkDwell', 1],
      ['downlinkDwell', 1],
      [RFU, 2],
    ],
  },
  TxParamSetupAns: { cid: 0x09, up: true, fields: [] },
  DlChannelReq: {
    cid: 0x0a,
    up: false,
    fields: [
      ['channel', 8],
      ['frequency', 24],
    ],
  },
  DlChannelAns: {
    cid: 0x0a,
    up: true,
    fields: [
      ['frequencyAck', 1],
      ['uplinkExists', 1],
      [RFU, 6],
    ],
  },
  RekeyInd: {
    cid: 0x0b,
    up: true,
    fields: [
      ['minor', 4],
      [RFU, 4],
    ],
  },
  RekeyConf: {
    cid: 0x0b,
    up: false,
    fields: [
      ['minor', 4],
      [RFU, 4],
    ],
  },
  ADRParamSetupReq: {
    cid: 0x0c,
    up: false,
    fields: [
      ['delayExponent', 4],
      ['limitExponent', 4],
    ],
  },
  ADRParamSetupAns: { cid: 0x0c, up: true, fields: [] },
  DeviceTimeReq: { cid: 0x0d, up: true, fields: [] },
  DeviceTimeAns: {
    cid: 0x0d,
    up: false,
    fields: [
      ['seconds', 32],
      ['fraction', 8],
    ],
  },
} as const satisfies Record<string, Layout>

export type MacName = keyof typeof LAYOUTS

export interface MacCommand {
  readonly name: MacName
  /** Raw numbers as on the air; frequencies in 100 Hz. */
  readonly fields: Readonly<Record<string, number>>
}

export interface MacCommands {
  readonly commands: readonly MacCommand[]
  /** Why reading stopped before the end: lengths of unknown commands are unknown. */
  readonly problem?: string
}

const sizeOf = (layout: Layout): number => layout.fields.reduce((bits, field) => bits + field[1], 0) / 8

const byCid = new Map<number, MacName>()
for (const name of Object.keys(LAYOUTS) as MacName[]) {
  const { cid, up } = LAYOUTS[name]
  byCid.set(up ? cid : cid + 0x100, name)
}

/** Reads a sequence of commands; never throws. */
export function parseMacCommands(bytes: Uint8Array, up: boolean): MacCommands {
  const commands: MacCommand[] = []
  let at = 0
  while (at < bytes.length) {
    const cid = bytes[at]!
    const name = byCid.get(up ? cid : cid + 0x100)
    if (name === undefined) return { commands, problem: `command 0x${cid.toString(16).padStart(2, '0')} is unknown` }
    const layout: Layout = LAYOUTS[name]
    const size = sizeOf(layout)
    if (at + 1 + size > bytes.length) return { commands, problem: `${name} is cut short` }
    commands.push({ name, fields: readFields(layout, bytes, at + 1) })
    at += 1 + size
  }
  return { commands }
}

function readFields(layout: Layout, bytes: Uint8Array, start: number): Record<string, number> {
  const fields: Record<string, number> = {}
  let whole = 0
  for (let index = sizeOf(layout) - 1; index >= 0; index--) whole = whole * 256 + bytes[start + index]!
  for (const [name, bits, signed] of layout.fields) {
    const value = whole % 2 ** bits
    whole = Math.floor(whole / 2 ** bits)
    if (name !== RFU) fields[name] = signed !== undefined && value >= 2 ** (bits - 1) ? value - 2 ** bits : value
  }
  return fields
}

/** Bytes of the commands one after the other; fields that are missing are 0, and what does not fit is cut. */
export function buildMacCommands(commands: readonly MacCommand[]): Buffer {
  return Buffer.concat(commands.map(buildOne))
}

function buildOne({ name, fields }: MacCommand): Buffer {
  const layout: Layout = LAYOUTS[name]
  const size = sizeOf(layout)
  let whole = 0
  for (const [field, bits] of [...layout.fields].reverse()) {
    const value = field === RFU ? 0 : Math.trunc(fields[field] ?? 0)
    const range = 2 ** bits
    whole = whole * range + (((value % range) + range) % range)
  }
  const out = Buffer.alloc(1 + size)
  out[0] = layout.cid
  for (let index = 1; index <= size; index++) {
    out[index] = whole % 256
    whole = Math.floor(whole / 256)
  }
  return out
}

/** Encoded length in bytes, CID included. */
export const macLength = (commands: readonly MacCommand[]): number =>
  commands.reduce((bytes, { name }) => bytes + 1 + sizeOf(LAYOUTS[name]), 0)

/** Seconds between the Unix epoch and 6 January 1980, and leap seconds of GPS time since then (18 since 2017). */
const GPS_EPOCH_S = 315_964_800
const GPS_LEAP_S = 18

/** @param atMs milliseconds since 1970. @returns microseconds of GPS time. */
export const gpsMicros = (atMs: number): number => Math.round((atMs / 1000 - GPS_EPOCH_S + GPS_LEAP_S) * 1e6)

export function deviceTimeAns(atMs: number): MacCommand {
  const seconds = gpsMicros(atMs) / 1e6
  return {
    name: 'DeviceTimeAns',
    fields: { seconds: Math.floor(seconds), fraction: Math.floor((seconds % 1) * 256) },
  }
}
