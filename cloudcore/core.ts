import { readFileSync } from 'node:fs'
import { type Clock, systemClock } from '../api/clock.ts'
import { SluiceError, toSluiceError } from '../api/errors.ts'
import { DEFAULT_HEARTBEAT_S, gatewayKey } from '../api/link/messages.ts'
import type { DialFrame } from '../api/link/streams.ts'
import { ConsoleApi } from './console-api/console-api.ts'
import { renderMetrics } from './console-api/metrics.ts'
import { openConsoleSide } from './console-api/open.ts'
import {
  type CloudFile,
  lastPorts,
  openDataFolder,
  ownHost,
  reachableHost,
  serverNames,
  writeCloudFile,
} from './data-folder.ts'
import { startDiscovery } from './discovery/start.ts'
import { startFirmware } from './firmware/start.ts'
import { eventReason, noteDevice, noteHandOver } from './gateways/device-events.ts'
import { EventRecorder } from './gateways/event-recorder.ts'
import { GatewayController } from './gateways/gateway-controller.ts'
import { recordNotices } from './gateways/gateway-notices.ts'
import { GatewayObjects } from './gateways/gateway-objects.ts'
import { type NodeFace, NodeKeeper } from './gateways/node-keeper.ts'
import { openDurable } from './hub/database.ts'
import { Hub } from './hub/hub.ts'
import { inventory } from './hub/inventory.ts'
import { connectMqtt, MqttPublisher } from './hub/mqtt-publisher.ts'
import { type HubServer, startHubServer } from './hub/server.ts'
import { HubStore } from './hub/store.ts'
import { StreamHub } from './hub/stream.ts'
import { needNoLoop, supernodeId } from './hub/supernode-loop.ts'
import { installCrds } from './install-crds.ts'
import { installRoles } from './install-roles.ts'
import { CertificateAuthority } from './join/authority.ts'
import { JoinService } from './join/join-service.ts'
import { JoinRegistry } from './join/registry.ts'
import { KubeClient } from './kube/client.ts'
import { inClusterConfig, loadKubeconfig } from './kube/config.ts'
import { openKubeletFace } from './kubelet/open.ts'
import { IN_CLUSTER, openApi } from './open-api.ts'
import type { CloudCoreDeps, CloudCoreOptions, CloudLog } from './options.ts'
import { startPods } from './pods/start.ts'
import { onPort, portMoved } from './ports.ts'
import { Roamer } from './roaming/roamer.ts'
import { TermBook } from './roaming/terms.ts'
import type { Scheduler } from './scheduler/scheduler.ts'
import { startScheduler } from './scheduler/start.ts'
import { keepServerCertificate, SERVER_DAYS } from './server-certificate.ts'
import { StreamBroker } from './streams/broker.ts'
import { Leases } from './tether/leases.ts'
import { DesireWriter } from './twins/desire.ts'
import { tellDesired } from './twins/desired-notes.ts'
import { Fleet } from './twins/fleet.ts'
import { followFleet } from './twins/follow-fleet.ts'
import { PresenceBoard } from './twins/presence.ts'
import { TwinEngine } from './twins/twin-engine.ts'

export interface CloudCore extends AsyncDisposable {
  readonly info: CloudFile
  readonly fleet: Fleet
  readonly hub: Hub
  createToken(request: {
    gateway: string
    ttlMs?: number
  }): Promise<{ token: string; gateway: string; expiresAt: string }>
}

const DEFAULT_HUB_PORT = 7443

/**
 * Starts a whole cloud core: the Kubernetes API (embedded, or yours), the hub, the twins, the gateways' nodes, joining
 * and the fleet's API. Resolves when all of it serves. Everything it keeps is under `dataDir`.
 */
export async function runCloudCore(options: CloudCoreOptions, deps: CloudCoreDeps = {}): Promise<CloudCore> {
  const clock = deps.clock ?? systemClock
  const log = deps.log ?? (() => {})
  const stack = new AsyncDisposableStack()
  const stopping = new AbortController()
  try {
    return await assemble(options, clock, log, stack, stopping)
  } catch (thrown) {
    stopping.abort()
    await stack.disposeAsync()
    throw thrown
  }
}

async function assemble(
  options: CloudCoreOptions,
  clock: Clock,
  log: CloudLog,
  stack: AsyncDisposableStack,
  stopping: AbortController,
): Promise<CloudCore> {
  const { signal } = stopping
  const host = options.host ?? '127.0.0.1'
  const folder = openDataFolder(options.dataDir)
  const last = lastPorts(folder)
  const authority = await CertificateAuthority.open(folder.pki, clock)
  const names = serverNames([host, options.advertise ?? ''])
  const trouble = (what: string, { code, message }: SluiceError) => log('warn', `${what}: ${message}`, { code })

  const api = await openApi(options, { clock, log, stack, folder, authority, host, lastPort: last.apiPort, names })
  const inCluster = options.kubeconfig === IN_CLUSTER
  const given = inCluster ? inClusterConfig() : loadKubeconfig(api.kubeconfig)
  // What others are to use need not lead here: behind NAT the advertised name is the router's.
  const kubeConfig = api.port === undefined ? given : { ...given, server: `https://${ownHost(host)}:${api.port}` }
  const client = stack.use(new KubeClient(kubeConfig))
  await installCrds(client, clock, signal)
  const ownId = await supernodeId(client)
  await installRoles(client, signal)

  const stream = new StreamHub()
  const store = new HubStore({
    path: folder.hubDatabase,
    clock,
    onStreamRow: (row) => stream.publish(row),
    onTrouble: (error) => trouble('hub store', error),
  })
  stack.defer(() => store[Symbol.dispose]())
  const joined = openDurable(folder.joinDatabase, '', clock.now())
  stack.defer(() => joined.db.close())
  for (const damaged of [store.setAside, joined.setAside]) {
    if (damaged !== undefined) log('error', 'a damaged database was set aside', { file: damaged })
  }
  const registry = new JoinRegistry(joined.db, clock)
  const presence = new PresenceBoard(clock, options.graceMs ?? 40_000)
  stack.defer(() => presence.close())
  const fleet = new Fleet()
  const events = new EventRecorder({ client, clock, signal, onTrouble: (error) => trouble('event', error) })
  const embedded = options.kubeconfig === undefined
  const twins = new TwinEngine({
    fleet,
    presence,
    client,
    clock,
    signal,
    log: (message, error) =>
      log('warn', error === undefined ? message : `${message}: ${error.message}`, { code: error?.code }),
    onNotice: (notice) => noteDevice(events, notice),
    // An API in this very process must not hold up the links with a burst of writes.
    parallelWrites: embedded ? 4 : 16,
  })
  const version = options.version ?? '0.1.0'
  let nodeFace: NodeFace | undefined
  const gatewayObjects = new GatewayObjects()
  const nodes = new NodeKeeper({
    ...{ client, clock, signal, version, onTrouble: trouble },
    kubelet: () => nodeFace,
    limits: (gateway) => gatewayObjects.spec(gateway)?.pods,
    parallelRenewals: embedded ? 2 : 16,
  })
  let scheduler: Scheduler | undefined
  const gateways: GatewayController = new GatewayController({
    ...{ client, clock, signal, presence, nodes, events, store, onTrouble: trouble },
    objects: gatewayObjects,
    tether: (name) => leases.status(name),
    onChange: (name) => {
      scheduler?.gatewayChanged(name)
      if (stream.subscribers === 0) return
      stream.note({ kind: 'gateway', gateway: gateways.view(name), at: new Date(clock.now()).toISOString() }, name)
    },
  })
  tellDesired(
    fleet,
    () => clock.now(),
    (note, gateway) => stream.note(note, gateway),
  )
  const discovery = startDiscovery(client, events, clock, signal, trouble)
  const audit = (gateway: string | undefined, code: string, message: string) => {
    log('warn', message, { code, gateway })
    if (gateway === undefined || fleetKnows(gateways, gateway) === false) return
    events.record({ subject: gateways.subject(gateway), type: 'Warning', reason: eventReason(code), message })
  }
  const terms = new TermBook(store.db, clock.now())
  const roamer = new Roamer({
    fleet,
    book: terms,
    clock,
    links: {
      present: (gateway) => hub.session(gateway)?.epoch !== undefined,
      leaseLeftMs: (gateway) => hub.leaseLeftMs(gateway),
      offsetMs: (gateway) => hub.offsetMs(gateway),
      holdBack: (gateway, until) => hub.session(gateway)?.holdBack(until),
    },
    gateways: () => gatewayObjects.labels(),
    onTrouble: trouble,
    onHandOver: (record, from, why) => {
      noteHandOver(events, record, from, why)
      scheduler?.deviceMoved()
    },
  })
  stack.defer(() => roamer.close())
  fleet.placement = roamer
  const desire = new DesireWriter({ client, fleet, clock })
  const streams = new StreamBroker({ clock, send: (gateway, frame) => dialOver(hub, gateway, frame) })
  stack.defer(() => streams[Symbol.dispose]())
  const bearerToken = () => readFileSync(folder.tokenFile, 'utf8').trim()
  const follow = { client, fleet, streams, events, clock, signal, onTrouble: trouble }
  const firmware = startFirmware({ ...follow, folder: folder.firmware, bearerToken })
  const pods = startPods({
    ...{ client, clock, signal, gateways: gatewayObjects, gatewaysKnown: gateways.watch.synced, onTrouble: trouble },
    hostIp: (gateway) => gateways.hostIp(gateway),
    record: (note) => events.record(note),
    onChange: (gateway, objects) => hub.objectsChanged(gateway, objects),
    count: (gateway, refused) => store.count(gateway, 'refusedRows', refused),
    audit,
  })
  const subject = (gateway: string) => gateways.subject(gateway)
  const leases: Leases = new Leases({
    ...{ db: store.db, clock, spec: (gateway) => gatewayObjects.spec(gateway) },
    settled: (gateway) => hub.session(gateway)?.behind === 0,
    onChange: (gateway, tether) => gateways.tetherChanged(gateway, tether),
  })
  stack.defer(() => leases[Symbol.dispose]())
  const hub: Hub = new Hub({
    lease: (gateway) => leases.give(gateway),
    needWelcome: (gateway, hello) => needNoLoop(ownId, gateway, hello),
    clock,
    store,
    fleet,
    objects: inventory(fleet, gatewayObjects, firmware.orders, pods.objects),
    presence,
    heartbeatMs: options.heartbeatMs ?? DEFAULT_HEARTBEAT_S * 1000,
    window: { batches: 256, bytes: 1024 * 1024 },
    ingest: (body, origin) => twins.ingest(body, origin),
    admits: (uid, gateway, term) => terms.admits(uid, gateway, term),
    onCovered: (uid, term, values) => terms.covered(uid, term, values),
    holdBack: (gateway) => roamer.unsettled(gateway),
    onHeard: (gateway, items) => roamer.heard(gateway, items),
    onObjectAck: (gateway, kind, key, refusal) => {
      if (kind === 'Device' || kind === 'DeviceModel') twins.acknowledged(gateway, kind, key, refusal)
      pods.acknowledged(gateway, kind, key, refusal)
      if (kind === 'Device') roamer.acknowledged(gateway, key)
    },
    onStatus: (gateway, status) => gateways.told(gateway, status),
    onSighted: (gateway, items) => discovery.sighted(gateway, items),
    onEvents: (gateway, items) => recordNotices({ events, fleet, subject, podSubject: pods.subject }, gateway, items),
    onPods: (gateway, items, statics) => pods.told(gateway, items, statics),
    onFirmware: (gateway, items) => firmware.told(gateway, items),
    onDialRefused: (gateway, refusal) => streams.refused(gateway, refusal),
    onConnected: (session, hello) => {
      streams.connected(session.gateway)
      log('info', 'gateway connected', { gateway: session.gateway, epoch: session.epoch?.epoch })
      gateways.connected(session.gateway, hello, session.epoch?.epoch, session.certificateExpiresMs)
      // After what the gateway says it holds was looked at.
      queueMicrotask(() => roamer.gatewayChanged(session.gateway))
    },
    onDisconnected: (session) => {
      log('info', 'gateway disconnected', { gateway: session.gateway })
      gateways.disconnected(session.gateway, session.lastHeardWallMs)
      roamer.gatewayChanged(session.gateway)
    },
    desire: (gateway, frame) => desire.offer(gateway, frame),
    audit,
  })
  stack.defer(() => hub[Symbol.dispose]())
  gatewayObjects.listen((name) => {
    leases.specChanged(name)
    hub.objectsChanged(name, [['Gateway', gatewayKey(name)]])
    roamer.gatewayChanged(name)
  })
  scheduler = startScheduler({
    ...{ client, clock, signal, embedded, gateways, fleet, events, db: store.db, objects: gatewayObjects },
    mayMoveFrom: (node) => leases.mayMoveFrom(node),
    onTrouble: trouble,
  })
  const synced = Promise.all([followFleet(client, fleet, clock, signal, trouble), firmware.synced, pods.synced])
  firmware.orders.onChange = (gateway, key) => hub.objectsChanged(gateway, [['FirmwareUpdate', key]])
  let ready = false
  let server: HubServer | undefined
  const hubHost = reachableHost(host, options.advertise)
  const hubUrl = () => `https://${hubHost}:${server?.port ?? 0}`
  const join = new JoinService({
    authority,
    registry,
    clock,
    hubUrl,
    audit: (entry) => {
      const { action, gateway, detail, code } = entry
      if (action === 'refused') return audit(gateway, code ?? 'SLUICE_JOIN_REFUSED', detail)
      log('info', `gateway ${action}`, { gateway, detail })
    },
    onJoined: (gateway) => {
      hub.disconnect(gateway, new SluiceError('SLUICE_LINK_REPLACED', 'the gateway joined again'))
      gateways.ensure(gateway).catch((thrown: unknown) => trouble(`gateway ${gateway}`, toSluiceError(thrown)))
    },
  })
  const createToken = async (request: { gateway: string; ttlMs?: number }) => {
    const made = join.createToken(request)
    await gateways.ensure(request.gateway)
    return made
  }
  let mqtt: MqttPublisher | undefined
  const { gate, fleetRoutes, questions, upgraded } = openConsoleSide({
    ...{ clock, client, kubeConfig, fleet, store, version, consoleUrl: hubUrl, oidc: options.oidc },
    ...{ place: hubHost, auditFile: folder.auditLog, bearerToken },
    onTrouble: (message) => log('error', message),
    ...{ stack, streams, scheduler: () => scheduler },
  })
  const consoleApi = new ConsoleApi({
    ...{ fleet, twins, desire, store, stream, clock, bearerToken },
    metrics: () => renderMetrics({ hub, store, stream, fleet, twins, mqtt: () => mqtt }),
    createToken,
    tokens: () => join.tokens(),
    revokeTokens: (idOrGateway) => join.revokeTokens(idOrGateway),
    revoke: (gateway) => {
      const count = join.revoke(gateway)
      hub.disconnect(gateway, new SluiceError('SLUICE_JOIN_CERT_REVOKED', 'the certificate was revoked'))
      presence.gone(gateway)
      return count
    },
    gateways: () => [...gateways.watch.cache.keys()].map((name) => gateways.view(name)),
    gatewayNames: () => [...gateways.watch.cache.keys()],
    gateway: (name) => (gateways.watch.cache.has(name) ? gateways.view(name) : undefined),
    ask: (gateway, question) => questions.ask(gateway, question),
    ...{ gate, fleetRoutes },
  })
  const serverKey = await authority.issueServer('sluice-hub', names, SERVER_DAYS)
  const moved = portMoved(log)
  server = await onPort(options.hubPort, [last.hubPort, DEFAULT_HUB_PORT], 'SLUICE_HUB_PORT_BUSY', moved, (port) =>
    startHubServer({
      host,
      port,
      tls: { key: serverKey.keyPem, cert: serverKey.certPem, ca: authority.caPem },
      hub,
      streams,
      join,
      registry,
      console: (request, response) => firmware.handle(request, response) ?? consoleApi.handle(request, response),
      consoleUpgrade: upgraded,
      ...{ audit, ready: () => ready },
    }),
  )
  const running = stack.use(server)
  keepServerCertificate(clock, signal, authority, names, running, trouble)
  const kubelet = await openKubeletFace({
    ...{ host, authority, names, client, clock, signal, broker: streams },
    // The embedded API is in this process; a cluster's own has to get here.
    advertised: embedded ? ownHost(host) : hubHost,
    ...{ port: options.kubeletPort, lastPort: last.kubeletPort, onPortMoved: moved, onTrouble: trouble },
    gateways: () => [...hub.sessions()].map(({ gateway }) => gateway),
  })
  stack.use(kubelet)
  nodeFace = kubelet.node
  if (options.mqttUrl !== undefined) {
    mqtt = stack.use(new MqttPublisher({ stream, client: await connectMqtt(options.mqttUrl) }))
  }
  await Promise.race([synced, aborted(options.signal)])
  ready = true
  const info: CloudFile = {
    pid: process.pid,
    consoleUrl: hubUrl(),
    hubUrl: hubUrl(),
    hubPort: running.port,
    kubeletPort: kubelet.node.port,
    apiUrl: client.server,
    ...(api.port === undefined ? {} : { apiPort: api.port }),
    kubeconfig: api.kubeconfig,
    tokenFile: 'console-token',
    caFile: 'pki/ca.crt',
  }
  writeCloudFile(folder, info)
  let stopped: Promise<void> | undefined
  const stop = async () => {
    // What gateways last reported goes into the API before everything ends; two seconds have to do.
    hub[Symbol.dispose]()
    store.commit()
    const within = AbortSignal.timeout(2_000)
    await Promise.all([twins.drained(within), pods.drained(within)])
    stopping.abort()
    await stack.disposeAsync()
  }
  return { info, fleet, hub, createToken, [Symbol.asyncDispose]: () => (stopped ??= stop()) }
}

function dialOver(hub: Hub, gateway: string, frame: DialFrame): boolean | undefined {
  const session = hub.session(gateway)
  return session === undefined ? false : session.dial(frame)
}

const fleetKnows = (gateways: GatewayController, name: string) => gateways.watch.cache.has(name)

const aborted = (signal: AbortSignal | undefined): Promise<never> =>
  new Promise((_, reject) => {
    if (signal?.aborted) reject(signal.reason)
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
