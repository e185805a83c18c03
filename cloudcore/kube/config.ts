import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parse } from 'yaml'
import { SluiceError } from '../../api/errors.ts'

/** How to reach a Kubernetes API and as whom. PEM texts, not paths. */
export interface KubeConfig {
  readonly server: string
  readonly caPem?: string
  readonly certPem?: string
  readonly keyPem?: string
  /** Read anew for every request: service account tokens rotate on disk. */
  readonly token?: () => string | undefined
  readonly insecureSkipVerify?: boolean
  readonly namespace: string
}

interface Named {
  readonly name?: unknown
  readonly [key: string]: unknown
}

const SERVICE_ACCOUNT_DIR = '/var/run/secrets/kubernetes.io/serviceaccount'

/**
 * Reads a kubeconfig file: clusters, users (client certificate, inline or by path, token, token file) and contexts.
 * `context` defaults to the file's current-context. Credential plugins (`exec`) are refused with SLUICE_KUBECONFIG_INVALID.
 */
export function loadKubeconfig(path: string, context?: string): KubeConfig {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new SluiceError('SLUICE_KUBECONFIG_UNREADABLE', `cannot read kubeconfig ${path}`, {
      cause,
      hint: 'Check the path and that this user may read the file.',
    })
  }
  let document: unknown
  try {
    document = parse(text)
  } catch (cause) {
    throw invalid(path, 'it is not YAML', cause)
  }
  if (!isRecord(document)) throw invalid(path, 'it is empty')
  return pick(document, path, context)
}

function pick(document: Record<string, unknown>, path: string, wanted: string | undefined): KubeConfig {
  const base = dirname(resolve(path))
  const contextName = wanted ?? asText(document['current-context'])
  if (contextName === undefined) throw invalid(path, 'it has no current-context')
  const context = named(document['contexts'], contextName, 'context', path)
  const cluster = named(document['clusters'], asText(context['cluster']) ?? '', 'cluster', path)
  const user = asText(context['user']) === undefined ? {} : named(document['users'], `${context['user']}`, 'user', path)
  const server = asText(cluster['server'])
  if (server === undefined) throw invalid(path, `cluster '${context['cluster']}' has no server`)
  if (user['exec'] !== undefined || user['auth-provider'] !== undefined) {
    throw invalid(path, `user '${context['user']}' needs a credential plugin, which is not supported`)
  }
  const caPem = pem(cluster, 'certificate-authority', base, path)
  const certPem = pem(user, 'client-certificate', base, path)
  const keyPem = pem(user, 'client-key', base, path)
  const token = asText(user['token'])
  const tokenFile = asText(user['tokenFile'])
  return {
    server: server.replace(/\/+$/, ''),
    namespace: asText(context['namespace']) ?? 'default',
    ...(caPem === undefined ? {} : { caPem }),
    ...(certPem === undefined ? {} : { certPem }),
    ...(keyPem === undefined ? {} : { keyPem }),
    ...(tokenFile !== undefined
      ? { token: () => readFileSync(resolve(base, tokenFile), 'utf8').trim() }
      : token !== undefined
        ? { token: () => token }
        : {}),
    ...(cluster['insecure-skip-tls-verify'] === true ? { insecureSkipVerify: true } : {}),
  }
}

/** Configuration of a pod's service account. Throws SLUICE_KUBECONFIG_UNREADABLE outside a cluster. */
export function inClusterConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
  directory: string = SERVICE_ACCOUNT_DIR,
): KubeConfig {
  const host = env['KUBERNETES_SERVICE_HOST']
  const port = env['KUBERNETES_SERVICE_PORT']
  if (host === undefined || port === undefined) {
    throw new SluiceError('SLUICE_KUBECONFIG_UNREADABLE', 'this process does not run inside a cluster', {
      hint: 'Give --kubeconfig FILE.',
    })
  }
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    caPem: readFileSync(`${directory}/ca.crt`, 'utf8'),
    token: () => readFileSync(`${directory}/token`, 'utf8').trim(),
    namespace: readFileSync(`${directory}/namespace`, 'utf8').trim(),
  }
}

function pem(entry: Record<string, unknown>, key: string, base: string, path: string): string | undefined {
  const data = asText(entry[`${key}-data`])
  if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8')
  const file = asText(entry[key])
  if (file === undefined) return undefined
  try {
    return readFileSync(resolve(base, file), 'utf8')
  } catch (cause) {
    throw invalid(path, `it names ${key} '${file}', which cannot be read`, cause)
  }
}

function named(list: unknown, name: string, what: 'context' | 'cluster' | 'user', path: string) {
  const entry = Array.isArray(list) ? list.find((item: Named) => isRecord(item) && item.name === name) : undefined
  const inner = isRecord(entry) ? entry[what] : undefined
  if (!isRecord(inner)) throw invalid(path, `it has no ${what} '${name}'`)
  return inner
}

function invalid(path: string, why: string, cause?: unknown): SluiceError {
  return new SluiceError('SLUICE_KUBECONFIG_INVALID', `kubeconfig ${path}: ${why}`, {
    cause,
    hint: 'Check it with: kubectl --kubeconfig FILE config view',
  })
}

const asText = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined)

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
