/** Resource records as a responder of its own would write them (RFC 1035, section 4.1); names are not compressed. */
export type TestRecord =
  | { readonly type: 'PTR'; readonly name: string; readonly to: string }
  | { readonly type: 'SRV'; readonly name: string; readonly host: string; readonly port: number }
  | { readonly type: 'TXT'; readonly name: string; readonly texts: readonly string[] }
  | { readonly type: 'A'; readonly name: string; readonly address: string }

const TYPES = { A: 1, PTR: 12, TXT: 16, SRV: 33 } as const

const uint16 = (value: number) => Buffer.from([value >> 8, value & 0xff])

const labelled = (texts: readonly string[]) =>
  Buffer.concat(texts.flatMap((text) => [Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)]))

/** A label may hold dots, written `\.`. */
export const dnsName = (name: string) =>
  Buffer.concat([labelled(name.split(/(?<!\\)\./).map((label) => label.replaceAll('\\.', '.'))), Buffer.from([0])])

function dataOf(record: TestRecord): Buffer {
  if (record.type === 'PTR') return dnsName(record.to)
  if (record.type === 'TXT') return labelled(record.texts)
  if (record.type === 'A') return Buffer.from(record.address.split('.').map(Number))
  return Buffer.concat([uint16(0), uint16(0), uint16(record.port), dnsName(record.host)])
}

/** An answer without a question, as multicast DNS sends them. */
export function dnsAnswer(records: readonly TestRecord[], ttlS = 120): Buffer {
  const header = Buffer.from([0, 0, 0x84, 0, 0, 0, ...uint16(records.length), 0, 0, 0, 0])
  const body = records.flatMap((record) => {
    const data = dataOf(record)
    const type = uint16(TYPES[record.type])
    const ttl = Buffer.from([0, 0, ttlS >> 8, ttlS & 0xff])
    return [dnsName(record.name), type, uint16(0x8001), ttl, uint16(data.length), data]
  })
  return Buffer.concat([header, ...body])
}

/** All that a service needs to be found. */
export function serviceRecords(
  type: string,
  name: string,
  options: { readonly address?: string; readonly port?: number; readonly texts?: readonly string[] } = {},
): readonly TestRecord[] {
  const { address = '192.168.1.20', port = 80, texts = [] } = options
  const whole = `${name.replaceAll('.', '\\.')}._${type}._tcp.local`
  return [
    { type: 'PTR', name: `_${type}._tcp.local`, to: whole },
    { type: 'SRV', name: whole, host: 'box.local', port },
    { type: 'TXT', name: whole, texts },
    { type: 'A', name: 'box.local', address },
  ]
}
