import { request } from 'node:https'
import type { CustomFetch } from 'openid-client'
import { SluiceError } from '../../../api/errors.ts'

const TIMEOUT_MS = 10_000
/** Metadata, keys and tokens are a few kilobytes. */
const MAX_BYTES = 1024 * 1024

/** `fetch` that trusts one more authority, which Node's own cannot be told; bounded in size and time. */
export function fetchWithAuthority(caPem: string | undefined): CustomFetch {
  return (url, { method, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      const call = request(
        url,
        {
          method,
          headers,
          agent: false,
          timeout: TIMEOUT_MS,
          ...(caPem === undefined ? {} : { ca: caPem }),
          ...(signal === undefined ? {} : { signal }),
        },
        (answer) => {
          const chunks: Buffer[] = []
          let bytes = 0
          answer.on('error', reject)
          answer.on('data', (chunk: Buffer) => {
            bytes += chunk.length
            if (bytes > MAX_BYTES)
              call.destroy(new SluiceError('SLUICE_OIDC_PROVIDER', 'the OpenID provider answers without end'))
            else chunks.push(chunk)
          })
          answer.on('end', () => {
            const words = Object.entries(answer.headers).filter(
              (pair): pair is [string, string] => typeof pair[1] === 'string',
            )
            const status = answer.statusCode ?? 502
            const empty = status === 204 || status === 304
            resolve(new Response(empty ? null : Buffer.concat(chunks), { status, headers: words }))
          })
        },
      )
      call.on('timeout', () =>
        call.destroy(new SluiceError('SLUICE_OIDC_PROVIDER', `no answer from ${new URL(url).host}`)),
      )
      call.on('error', reject)
      call.end(body === null || body === undefined ? undefined : String(body))
    })
}
