import type { IncomingMessage } from 'node:http'
import { parse as parseYaml } from 'yaml'
import { decodeProtobuf } from '../proto/envelope.ts'
import { badRequest, tooLarge, unsupportedMediaType } from './status.ts'

/** As the real server: 3 MiB. */
export const MAX_BODY_BYTES = 3 * 1024 * 1024
/** YAML costs far more than JSON to read; nobody writes this much by hand. */
const MAX_YAML_CHARS = 1024 * 1024
/** Deeper documents exist only to overflow somebody's stack. */
const MAX_DEPTH = 100

export function mediaType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
}

/** Reads the whole body; rejects with 413 as soon as it is longer than allowed. */
export function readBody(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) {
      reject(tooLarge(MAX_BODY_BYTES))
      return
    }
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > MAX_BODY_BYTES) reject(tooLarge(MAX_BODY_BYTES))
      else chunks.push(chunk)
    })
    request.on('end', () => resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)))
    request.on('error', reject)
    request.on('close', () => reject(badRequest('the request ended early')))
  })
}

const OBJECT_TYPES = ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf']

/** Decodes the body of a create, update or delete by its content type; an empty body is undefined. */
export function decodeBody(body: Buffer, type: string): unknown {
  if (body.length === 0) return undefined
  switch (type) {
    case '':
    case 'application/json':
      return decodeJson(body)
    case 'application/yaml':
      return decodeYaml(body)
    case 'application/vnd.kubernetes.protobuf':
      return decodeProtobuf(body)
    default:
      throw unsupportedMediaType(OBJECT_TYPES)
  }
}

/** Parses JSON that came from outside: bounded in depth, and without keys that would reach a prototype. */
export function decodeJson(body: Buffer): unknown {
  const text = body.toString('utf8')
  checkDepth(text)
  try {
    const suspicious = text.includes('__proto__') || text.includes('\\u005')
    return suspicious
      ? JSON.parse(text, (key, value: unknown) => (key === '__proto__' ? undefined : value))
      : JSON.parse(text)
  } catch (error) {
    throw badRequest(
      `couldn't get version/kind; json parse error: ${error instanceof Error ? error.message : String(error)}`,
    )
  }
}

/** YAML 1.2 core schema; JSON is YAML, and is read by the faster parser. */
export function decodeYaml(body: Buffer): unknown {
  const start = body.subarray(0, 64).toString('latin1').trimStart()
  if (start.startsWith('{')) {
    try {
      return decodeJson(body)
    } catch {
      // Flow style that is no JSON.
    }
  }
  const text = body.toString('utf8')
  if (text.length > MAX_YAML_CHARS) throw tooLarge(MAX_YAML_CHARS)
  try {
    const value: unknown = parseYaml(text, { maxAliasCount: 50, uniqueKeys: true, logLevel: 'error' })
    // Through JSON once: what is stored is JSON, and dates, maps with odd keys and shared parts end here.
    return decodeJson(Buffer.from(JSON.stringify(value ?? null)))
  } catch (error) {
    throw badRequest(
      `error converting YAML to JSON: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`,
    )
  }
}

function checkDepth(text: string): void {
  let depth = 0
  let quoted = false
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (quoted) {
      if (code === 0x5c) index++
      else if (code === 0x22) quoted = false
    } else if (code === 0x22) quoted = true
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > MAX_DEPTH) throw badRequest(`the body is nested deeper than ${MAX_DEPTH} levels`)
    } else if (code === 0x7d || code === 0x5d) depth--
  }
}
