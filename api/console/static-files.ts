import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SluiceError } from '../errors.ts'

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** Nothing from elsewhere, in nobody's frame; inline only the few styles of the first paint, known by their digest. */
const policyOf = (styles: string): string =>
  `default-src 'none'; script-src 'self'; style-src 'self'${styles}; img-src 'self' data:; connect-src 'self'; ` +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

const HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
}

/** Where the built console lies: beside the sources and in the package alike. */
export const consoleFolder = (): string =>
  fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../../console/dist/' : '../console/dist/', import.meta.url))

/** Whether the path is one of the console's files: the page itself, or one of its assets. */
export const isConsoleFile = (path: string): boolean => path === '/' || /^\/assets\/[\w.-]+$/.test(path)

/** Serves one file, compressed ahead where the browser takes that. Throws SLUICE_CONSOLE_NOT_BUILT, SLUICE_API_NOT_FOUND. */
export async function serveConsoleFile(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  folder = consoleFolder(),
): Promise<void> {
  const name = path === '/' ? 'index.html' : path.slice(1)
  const taken = String(request.headers['accept-encoding'] ?? '')
  const encoding = /\bbr\b/.test(taken) ? 'br' : /\bgzip\b/.test(taken) ? 'gzip' : undefined
  const suffix = encoding === undefined ? '' : encoding === 'br' ? '.br' : '.gz'
  let content: Buffer
  try {
    content = await readFile(join(folder, `${name}${suffix}`))
  } catch (cause) {
    if (name !== 'index.html') {
      throw new SluiceError('SLUICE_API_NOT_FOUND', `There is nothing at ${path}`, {
        hint: 'The console was replaced by a newer one: load the page again.',
        cause,
      })
    }
    throw new SluiceError('SLUICE_CONSOLE_NOT_BUILT', 'The console is not built', {
      hint: "In a clone of the project: 'npm run build'. In an installed package: install it once more.",
      cause,
    })
  }
  const etag = `"${createHash('sha1').update(content).digest('base64url')}"`
  const headers = {
    ...HEADERS,
    'content-security-policy': policyOf(name === 'index.html' ? await inlineStyles(folder) : ''),
    etag,
    vary: 'accept-encoding',
    // Names of assets carry a hash of what is in them.
    'cache-control': name === 'index.html' ? 'no-cache' : 'public, max-age=31536000, immutable',
  }
  if (request.headers['if-none-match'] === etag) {
    response.writeHead(304, headers).end()
    return
  }
  response.writeHead(200, {
    ...headers,
    'content-type': TYPES[extname(name)] ?? 'application/octet-stream',
    'content-length': content.length,
    ...(encoding === undefined ? {} : { 'content-encoding': encoding }),
  })
  response.end(request.method === 'HEAD' ? undefined : content)
}

/** What the policy says of the styles that stand in the page itself. */
async function inlineStyles(folder: string): Promise<string> {
  const page = await readFile(join(folder, 'index.html'), 'utf8')
  return [...page.matchAll(/<style>(.*?)<\/style>/gs)]
    .map(([, styles = '']) => ` 'sha256-${createHash('sha256').update(styles).digest('base64')}'`)
    .join('')
}
