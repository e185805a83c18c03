import { once } from 'node:events'
import type { Server } from 'node:https'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Clock, Timer } from '../../api/clock.ts'
import { systemClock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { Workloads } from '../controllers/workloads.ts'
import type { Tokens } from './access/authenticate.ts'
import { Authenticator } from './access/authenticate.ts'
import type { Authorize } from './access/authorize.ts'
import { defaultAuthorize } from './access/authorize.ts'
import { Rbac } from './access/rbac.ts'
import { DefaultAccounts, ensureDefaultAccount } from './background/default-accounts.ts'
import { Definitions } from './background/definitions.ts'
import { expireEvents } from './background/event-expiry.ts'
import { GarbageCollector } from './background/garbage-collector.ts'
import { Namespaces } from './background/namespaces.ts'
import { WorkQueue } from './background/work-queue.ts'
import { Handler } from './http/handler.ts'
import { type NodeCredentials, NodeProxy } from './http/node-proxy.ts'
import { OpenApi } from './openapi/document.ts'
import type { WriteOptions } from './registry/admission.ts'
import { builtinKinds } from './registry/builtins.ts'
import { Catalog } from './registry/catalog.ts'
import { metricsKinds } from './registry/kinds/metrics.ts'
import { namespaceKind } from './registry/kinds/namespace.ts'
import { Registry } from './registry/registry.ts'
import { databaseFile, openDatabase } from './storage/database.ts'
import { LogFlush } from './storage/log-flush.ts'
import type { CompactionOptions } from './storage/store.ts'
import { ObjectStore } from './storage/store.ts'

export interface ApiServerOptions {
  /** Folder for `api.db`; created if missing. */
  readonly dataDir: string
  /** Default 127.0.0.1. */
  readonly host?: string
  /** 0, the default, takes any free port. */
  readonly port?: number
  /** PEM texts: the server's key and certificate, and the CA that signs client certificates. */
  readonly tls: { readonly key: string; readonly cert: string; readonly ca: string }
  /** How it shows itself to the kubelets of nodes; without it `kubectl logs` and the like are refused. */
  readonly nodes?: NodeCredentials
  readonly clock?: Clock
  /** Bearer tokens that are accepted besides client certificates. */
  readonly tokens?: Tokens
  readonly authorize?: Authorize
  readonly compaction?: CompactionOptions
  /** Open watches at most. Default 10 000. */
  readonly maxWatches?: number
  /** Stops the server. */
  readonly signal?: AbortSignal
  /** Told what went wrong behind the scenes: a damaged file set aside, a controller that could not do its work. */
  readonly onError?: (error: unknown) => void
}

export interface ApiServer extends AsyncDisposable {
  readonly url: string
  readonly port: number
  /** Where a damaged database was moved to at start; undefined when it was sound. */
  readonly setAside: string | undefined
}

const FIRST_NAMESPACES = ['default', 'kube-node-lease', 'kube-public', 'kube-system']
const HOUSEKEEPING_EVERY_MS = 30_000
const FLUSH_EVERY_MS = 1_000
const HEADERS_TIMEOUT_MS = 15_000
const REQUEST_TIMEOUT_MS = 60_000
const IDLE_TIMEOUT_MS = 300_000
const MAX_HEADER_BYTES = 32 * 1024

/**
 * Starts the embedded Kubernetes-style API on one SQLite file. Everything that was answered survives a kill at any
 * moment (storage/database.ts says what power loss may cost).
 *
 * Throws SLUICE_API_PORT_BUSY, SLUICE_API_LISTEN, SLUICE_API_TLS, SLUICE_API_STORAGE_OPEN, SLUICE_API_STORAGE_FORMAT.
 */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  options.signal?.throwIfAborted()
  const clock = options.clock ?? systemClock
  const onError = options.onError ?? (() => {})
  const rbac = new Rbac()
  const base = options.authorize ?? defaultAuthorize
  const authorize: Authorize = (caller, verb, target) =>
    base(caller, verb, target) || rbac.authorize(caller, verb, target)
  const opened = openDatabase(options.dataDir, clock.now(), onError)
  const store = new ObjectStore(opened.database, clock, options.compaction)
  const authenticator = new Authenticator(options.tokens)
  const measured = options.nodes === undefined ? [] : metricsKinds
  const catalog = new Catalog([...builtinKinds(authorize, authenticator), ...measured])
  const registry = new Registry(store, catalog, clock)
  const nodes = options.nodes === undefined ? undefined : new NodeProxy(registry, options.nodes)
  const controllers = [
    new Definitions(registry, onError),
    new Namespaces(registry, onError),
    new DefaultAccounts(registry, onError),
    new GarbageCollector(registry, onError),
    new Workloads(registry, onError),
  ]
  const stopping = new AbortController()
  const handler = new Handler({
    registry,
    openApi: new OpenApi(registry.catalog),
    authenticator,
    authorize,
    nodes,
    maxWatches: options.maxWatches ?? 10_000,
    signal: stopping.signal,
  })
  try {
    for (const controller of controllers) controller.load()
    rbac.open(store)
    store.history.onCommit((revisions) => {
      rbac.onCommit(revisions)
      for (const controller of controllers) controller.onCommit(revisions)
    })
    await bootstrap(registry)
    const server = createTlsServer(options, handler)
    server.on('close', () => nodes?.close())
    await listen(server, options.host ?? '127.0.0.1', options.port ?? 0)
    return running(server, store, registry, controllers, stopping, opened.setAside, options, onError)
  } catch (error) {
    store.close()
    throw error
  }
}

interface Controller {
  close(): void
}

function running(
  server: Server,
  store: ObjectStore,
  registry: Registry,
  controllers: readonly Controller[],
  stopping: AbortController,
  setAside: string | undefined,
  options: ApiServerOptions,
  onError: (error: unknown) => void,
): ApiServer {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  const expiry = new WorkQueue(() => expireEvents(registry), onError)
  const housekeeping = everySoOften(registry.clock, HOUSEKEEPING_EVERY_MS, () => {
    expiry.add('events')
    try {
      store.compact()
    } catch (error) {
      onError(error)
    }
  })
  const log = new LogFlush(databaseFile(options.dataDir), onError)
  const flushing = everySoOften(registry.clock, FLUSH_EVERY_MS, () => log.upTo(store.committedRevision))
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    housekeeping.cancel()
    flushing.cancel()
    log[Symbol.dispose]()
    expiry.close()
    for (const controller of controllers) controller.close()
    stopping.abort()
    const closed = once(server, 'close')
    server.close()
    server.closeIdleConnections()
    await store.committed().catch(onError)
    // Answers that are being written go out first; then whoever still holds a connection open is cut off.
    await new Promise((resolve) => setImmediate(resolve))
    for (const socket of sockets) socket.destroy()
    await closed
    store.close()
  }
  const stop = (): Promise<void> => (closing ??= close())
  options.signal?.addEventListener('abort', () => void stop().catch(onError), { once: true })
  const { port } = address(server)
  const host = options.host ?? '127.0.0.1'
  return {
    url: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    port,
    setAside,
    [Symbol.asyncDispose]: stop,
  }
}

function everySoOften(clock: Clock, everyMs: number, work: () => void): Timer {
  let timer: Timer
  const tick = () => {
    work()
    timer = clock.after(everyMs, tick, true)
  }
  timer = clock.after(everyMs, tick, true)
  return { cancel: () => timer.cancel() }
}

/** The namespaces a cluster is born with. History begins after them: no client can have seen anything earlier. */
async function bootstrap(registry: Registry): Promise<void> {
  const { store } = registry
  const options: WriteOptions = {
    manager: 'kube-apiserver',
    dryRun: false,
    fieldValidation: 'Ignore',
    force: false,
    warnings: [],
  }
  const fresh = store.revision === 0
  for (const name of FIRST_NAMESPACES) {
    if (store.get({ resource: namespaceKind.resource, namespace: '', name }) !== undefined) continue
    registry.create(namespaceKind, '', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }, options)
  }
  for (const name of FIRST_NAMESPACES) ensureDefaultAccount(registry, name)
  await store.committed()
  if (fresh) store.compactTo(store.revision)
}

function createTlsServer(options: ApiServerOptions, handler: Handler): Server {
  try {
    const server = createServer(
      {
        ...options.tls,
        // Whoever has no certificate may have a token; the authenticator decides, not the handshake.
        requestCert: true,
        rejectUnauthorized: false,
        minVersion: 'TLSv1.2',
        maxHeaderSize: MAX_HEADER_BYTES,
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        keepAliveTimeout: IDLE_TIMEOUT_MS,
        noDelay: true,
      },
      (request, response) => void handler.handle(request, response),
    )
    server.on('upgrade', (request, socket, head) => handler.upgrade(request, socket, head))
    server.on('tlsClientError', (_error, socket) => socket.destroy())
    server.on('clientError', (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      else socket.destroy()
    })
    return server
  } catch (error) {
    throw new SluiceError(
      'SLUICE_API_TLS',
      `the API server's key or certificate cannot be used: ${error instanceof Error ? error.message : String(error)}`,
      {
        hint: 'Give PEM texts of a key and the certificate made for it.',
        cause: error,
      },
    )
  }
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  try {
    server.listen({ host, port, backlog: 1024 })
    await once(server, 'listening')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') {
      throw new SluiceError('SLUICE_API_PORT_BUSY', `port ${port} on ${host} is in use by another program`, {
        hint: 'Stop that program or choose another port; port 0 takes any free one.',
        cause: error,
      })
    }
    throw new SluiceError(
      'SLUICE_API_LISTEN',
      `cannot listen on ${host}:${port}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    )
  }
}

function address(server: Server): AddressInfo {
  const found = server.address()
  if (found === null || typeof found === 'string')
    throw new SluiceError('SLUICE_API_LISTEN', 'the API server has no address')
  return found
}
