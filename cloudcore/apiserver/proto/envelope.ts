import { badRequest } from '../http/status.ts'
import type { JsonObject } from '../objects.ts'
import { decodeMessage, MESSAGES } from './messages.ts'
import { readFields } from './reader.ts'

/** "k8s" and a zero byte, then runtime.Unknown {1: TypeMeta {1: apiVersion, 2: kind}, 2: raw}. */
const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0x00])

/** Decodes the Kubernetes protobuf envelope into the JSON form of the object. Throws 400 for what it cannot read. */
export function decodeProtobuf(body: Buffer): JsonObject {
  if (!body.subarray(0, 4).equals(MAGIC))
    throw badRequest('provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]')
  const parts = new Map(readFields(body.subarray(4)).map((field) => [field.number, field.value]))
  const header = parts.get(1)
  const raw = parts.get(2)
  const names = Buffer.isBuffer(header)
    ? new Map(readFields(header).map((field) => [field.number, String(field.value)]))
    : new Map<number, string>()
  const apiVersion = names.get(1) ?? ''
  const kind = names.get(2) ?? ''
  const message = Object.hasOwn(MESSAGES, `${apiVersion}/${kind}`) ? MESSAGES[`${apiVersion}/${kind}`] : undefined
  if (message === undefined) throw badRequest(`no protobuf decoder for ${apiVersion} ${kind}: send JSON`)
  return { apiVersion, kind, ...(Buffer.isBuffer(raw) ? decodeMessage(raw, message) : {}) }
}
