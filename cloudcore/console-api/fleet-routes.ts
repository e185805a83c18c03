import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AuditLog } from '../../api/console/audit-log.ts'
import { isRole, ROLES } from '../../api/console/roles.ts'
import type { ConsoleSessions } from '../../api/console/sessions.ts'
import { SluiceError } from '../../api/errors.ts'
import type { DeviceModel, DiscoveredDevice, Json } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import { readHistory } from '../hub/history.ts'
import type { HubStore } from '../hub/store.ts'
import type { KubeClient } from '../kube/client.ts'
import { collectionPath, DEVICE_MODELS, DEVICES, DISCOVERED_DEVICES, objectPath } from '../kube/paths.ts'
import type { Fleet } from '../twins/fleet.ts'
import { checkModelText, type ModelCheck } from './check-model.ts'
import { answeredFirmware } from './firmware-routes.ts'
import type { GatewayQuestions } from './gateway-questions.ts'
import { readJson, sendJson } from './http.ts'
import { modelSchema } from './model-schema.ts'
import { shelfModel, shelfNames } from './shelf.ts'
import type { WorkRoutes } from './work-routes.ts'

export interface FleetRoutesOptions {
  readonly client: KubeClient
  readonly fleet: Fleet
  readonly store: HubStore
  readonly audit: AuditLog
  readonly sessions: ConsoleSessions
  readonly consoleUrl: () => string
  readonly questions: GatewayQuestions
  readonly work: WorkRoutes
}

const MAX_BODY_BYTES = 512 * 1024
/** What a viewer may have a gateway asked. */
const ASKED: ReadonlySet<string> = new Set(['links', 'notices', 'energy', 'energy/series'])

/**
 * What the console needs beside the twins:
 *
 *     GET  /v1/history/{namespace}/{name}/{property}?from=   HistoryView
 *     GET  /v1/discovered                                    {items: DiscoveredDevice[]}
 *     POST /v1/discovered/{namespace}/{name}/approve         {model, name, namespace?} or {ignore: true} -> DiscoveredDevice
 *     GET  /v1/catalogue                                     {items: {namespace, name, spec}[]}: every model there is
 *     GET  /v1/shelf                                         {items: VENDOR/MODEL[]}: models that come with Sluice
 *     GET  /v1/shelf/{vendor}/{model}                        {name, spec}: one of them, to look at and to apply
 *     POST /v1/check                                         {text} -> ModelCheck
 *     POST /v1/models                                        {text}: applies the DeviceModels of a YAML text -> {made}
 *     GET  /v1/audit                                         {items: AuditEntry[]}
 *     POST /v1/console                                       {role?, name?} -> {url, code, role}
 *     GET  /v1/gateways/{gateway}/{question}                 what only that gateway knows: links, notices, energy,
 *                                                            energy/series; agent/local-api/insight.ts
 *     GET  /v1/plan/{namespace}/{name}                       PlanExplanation, asked of the device's gateway
 *     POST /v1/trial                                         {device, text} -> TrialView, the same
 *     POST /v1/devices/{namespace}/{name}/poll               {every}: how often it is read -> {device, state}
 *     GET  /v1/schema                                        JSON Schema of DeviceModels, for completion
 *
 * Answers whether it was one of them.
 */
export class FleetRoutes {
  readonly #options: FleetRoutesOptions

  constructor(options: FleetRoutesOptions) {
    this.#options = options
  }

  async answered(
    request: IncomingMessage,
    response: ServerResponse,
    path: readonly string[],
    url: URL,
    caller: { readonly name: string; readonly session: boolean },
  ): Promise<boolean> {
    const [, second, third = '', fourth = '', fifth = ''] = path
    const { audit, client } = this.#options
    const is = (method: string, name: string, length: number) =>
      request.method === method && second === name && path.length === length
    if (is('GET', 'history', 5)) sendJson(response, 200, await this.#history(request, third, fourth, fifth, url))
    else if (is('GET', 'audit', 2)) sendJson(response, 200, { items: audit.list() })
    else if (is('GET', 'discovered', 2)) {
      const { items } = await client.list<DiscoveredDevice>(collectionPath(DISCOVERED_DEVICES), {
        query: { limit: 5000 },
      })
      sendJson(response, 200, { items })
    } else if (is('POST', 'discovered', 5) && fifth === 'approve') {
      sendJson(response, 200, await this.#approve(request, third, fourth, caller.name))
    } else if (is('GET', 'catalogue', 2)) {
      const { items } = await client.list<DeviceModel>(collectionPath(DEVICE_MODELS), { query: { limit: 2000 } })
      sendJson(response, 200, {
        items: items.map(({ metadata, spec }) => ({ namespace: metadata.namespace, name: metadata.name, spec })),
      })
    } else if (is('GET', 'shelf', 2)) sendJson(response, 200, { items: await shelfNames() })
    else if (is('GET', 'shelf', 4)) {
      const { metadata, spec } = await shelfModel(third, fourth)
      sendJson(response, 200, { name: metadata.name, spec })
    } else if (is('POST', 'check', 2)) sendJson(response, 200, (await this.#check(request)).check)
    else if (is('POST', 'models', 2)) sendJson(response, 200, { made: await this.#applyModels(request, caller.name) })
    // A session does not make sessions: whoever invites holds the token or a certificate.
    else if (is('POST', 'console', 2) && !caller.session) sendJson(response, 200, await this.#invite(request))
    else if (second === 'gateways' && request.method === 'GET' && ASKED.has(path.slice(3).join('/'))) {
      sendJson(response, 200, await this.#options.questions.ask(third, `${path.slice(3).join('/')}${url.search}`))
    } else if (is('GET', 'plan', 4)) {
      const path = `plan/${encodeURIComponent(third)}/${encodeURIComponent(fourth)}${url.search}`
      sendJson(response, 200, await this.#options.questions.ask(this.#gatewayOf(`${third}/${fourth}`), path))
    } else if (is('POST', 'trial', 2)) sendJson(response, 200, await this.#trial(request))
    else if (is('POST', 'devices', 5) && fifth === 'poll') {
      sendJson(response, 200, await this.#poll(request, third, fourth, caller.name))
    } else if (is('GET', 'schema', 2)) sendJson(response, 200, await modelSchema())
    else if (await this.#options.work.answered(request, response, path, url)) return true
    else return answeredFirmware(client, request, response, path, caller.name)
    return true
  }

  #gatewayOf(device: string): string {
    const gateway = this.#options.fleet.devices.get(device)?.gateway
    if (gateway !== undefined) return gateway
    throw new SluiceError('SLUICE_API_NOT_FOUND', `no gateway serves ${device}`)
  }

  /** A model that is only text so far, read against a device by the gateway that serves it. */
  async #trial(request: IncomingMessage): Promise<Json> {
    const { device, text } = fieldsOf(await readJson(request, MAX_BODY_BYTES))
    if (typeof device !== 'string' || typeof text !== 'string') {
      throw new SluiceError('SLUICE_API_BAD_REQUEST', "the body needs a 'device' and a 'text'")
    }
    const { check, models } = await checkModelText(text)
    const error = check.findings.find(({ severity }) => severity === 'error')
    if (error !== undefined) {
      throw new SluiceError('SLUICE_API_BAD_REQUEST', `line ${error.line}: ${error.message}`, { hint: error.hint })
    }
    const [model] = models
    if (model === undefined) throw new SluiceError('SLUICE_API_BAD_REQUEST', 'the text has no DeviceModel')
    const spec: unknown = model.spec
    return this.#options.questions.ask(this.#gatewayOf(device), 'trial', { device, model: spec as Json })
  }

  async #poll(request: IncomingMessage, namespace: string, name: string, who: string) {
    const { every } = fieldsOf(await readJson(request, MAX_BODY_BYTES))
    if (typeof every !== 'string')
      throw new SluiceError('SLUICE_API_BAD_REQUEST', "the body needs an 'every', such as 5s")
    durationMs(every)
    const body = { spec: { poll: { every } } }
    const query = { fieldManager: `sluice-console-${who}`.slice(0, 128) }
    await this.#options.client.patch(objectPath(DEVICES, name, namespace), 'merge', body, { query })
    return { device: `${namespace}/${name}`, state: `every ${every}` }
  }

  async #history(request: IncomingMessage, namespace: string, name: string, property: string, url: URL) {
    const device = `${namespace}/${name}`
    const gateway = this.#options.fleet.devices.get(device)?.gateway
    if (gateway === undefined) throw new SluiceError('SLUICE_API_NOT_FOUND', `there is no history of ${device}`)
    const fromMs = Number(url.searchParams.get('from') ?? Date.now() - 3_600_000)
    if (!Number.isFinite(fromMs)) throw new SluiceError('SLUICE_API_BAD_REQUEST', "'from' is no time in milliseconds")
    const gone = new AbortController()
    request.socket.once('close', () => gone.abort())
    return readHistory(this.#options.store, { gateway, device, property, fromMs }, gone.signal)
  }

  async #approve(request: IncomingMessage, namespace: string, name: string, who: string): Promise<DiscoveredDevice> {
    const body = fieldsOf(await readJson(request, MAX_BODY_BYTES))
    const approve = {
      model: body['model'],
      name: body['name'],
      ...(body['namespace'] === undefined ? {} : { namespace: body['namespace'] }),
    }
    const spec = body['ignore'] === true ? { ignore: true } : { ignore: false, approve }
    return this.#options.client.patch<DiscoveredDevice>(
      objectPath(DISCOVERED_DEVICES, name, namespace),
      'merge',
      { spec },
      { query: { fieldManager: `sluice-console-${who}`.slice(0, 128) } },
    )
  }

  async #check(
    request: IncomingMessage,
  ): Promise<{ readonly check: ModelCheck; readonly models: readonly DeviceModel[] }> {
    const { text } = fieldsOf(await readJson(request, MAX_BODY_BYTES))
    if (typeof text !== 'string') throw new SluiceError('SLUICE_API_BAD_REQUEST', "the body needs a 'text'")
    return checkModelText(text)
  }

  async #applyModels(request: IncomingMessage, who: string): Promise<readonly string[]> {
    const { check, models } = await this.#check(request)
    const error = check.findings.find(({ severity }) => severity === 'error')
    if (error !== undefined) {
      throw new SluiceError('SLUICE_API_BAD_REQUEST', `line ${error.line}: ${error.message}`, { hint: error.hint })
    }
    const made: string[] = []
    for (const model of models) {
      const namespace = model.metadata.namespace ?? 'default'
      const path = objectPath(DEVICE_MODELS, model.metadata.name, namespace)
      const query = { fieldManager: `sluice-console-${who}`.slice(0, 128), force: true }
      await this.#options.client.patch(
        path,
        'apply',
        { ...model, metadata: { ...model.metadata, namespace } },
        { query },
      )
      made.push(`${namespace}/${model.metadata.name}`)
    }
    return made
  }

  async #invite(request: IncomingMessage) {
    const { role = 'admin', name = 'local' } = fieldsOf(await readJson(request, MAX_BODY_BYTES))
    if (!isRole(role) || typeof name !== 'string' || name === '' || name.length > 64) {
      throw new SluiceError(
        'SLUICE_API_BAD_REQUEST',
        `the body needs a 'role' of ${ROLES.join(', ')}, and a short 'name'`,
      )
    }
    const code = this.#options.sessions.issueCode({ name, role })
    return { url: `${this.#options.consoleUrl()}/#/sign-in/${code}`, code, role }
  }
}

const fieldsOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? { ...value } : {}
