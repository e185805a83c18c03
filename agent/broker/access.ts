import { createHmac, randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import { filterCovers, filterProblem, topicMatches } from '../../mappers/sdk/topic-filter.ts'

/** One user in `mqtt-users.json`. Filters may contain `%u`, the user's name, and `%c`, the client identifier. */
export interface UserEntry {
  /** `scrypt$N$r$p$salt$hash`, salt and hash in base64. */
  readonly password: string
  readonly publish?: readonly string[]
  readonly subscribe?: readonly string[]
  /** `namespace/name` or `namespace/*`: may read these devices' twins and set their desired values. */
  readonly devices?: readonly string[]
}

/** What a connection may do. */
export interface Rights {
  readonly user: string | undefined
  mayPublish(topic: string): boolean
  maySubscribe(filter: string): boolean
  mayRead(topic: string): boolean
}

const SCRYPT: ScryptOptions & { readonly N: number; readonly r: number; readonly p: number } = { N: 16_384, r: 8, p: 1 }
const HASH_BYTES = 32
/** Hashes being worked out at the same time; others wait for their turn and are refused beyond `MAX_QUEUED`. */
const MAX_CHECKING = 2
const MAX_QUEUED = 64
const MAX_REMEMBERED = 1024

/** Topics that belong to the broker itself. */
const isReserved = (topic: string): boolean => topic.startsWith('$SYS/')

/** Everything but the broker's own topics. */
const everything = (user: string | undefined): Rights => ({
  user,
  mayPublish: (topic) => !isReserved(topic),
  maySubscribe: () => true,
  mayRead: () => true,
})

function rightsOf(user: string, clientId: string, entry: UserEntry): Rights {
  // Names with wildcards or slashes would reach further than the one who wrote the filter meant.
  const plain = (text: string) => (/^[^+#/]*$/.test(text) ? text : '\u0000')
  const fill = (filters: readonly string[] = []) =>
    filters.map((filter) => filter.replaceAll('%u', plain(user)).replaceAll('%c', plain(clientId)))
  const devices = (entry.devices ?? []).map((device) => device.replace('*', '+'))
  const publish = [
    ...fill(entry.publish),
    ...devices.flatMap((device) => [
      `sluice/${device}/+/set`,
      ...['get', 'update'].map((verb) => `$hw/events/device/${device}/twin/${verb}`),
      `$hw/events/device/${device}/state/get`,
    ]),
  ]
  const subscribe = [
    ...fill(entry.subscribe),
    ...devices.flatMap((device) => [`sluice/${device}/#`, `$hw/events/device/${device}/#`]),
  ]
  return {
    user,
    mayPublish: (topic) => !isReserved(topic) && publish.some((filter) => topicMatches(filter, topic)),
    maySubscribe: (filter) => subscribe.some((wide) => filterCovers(wide, filter)),
    mayRead: (topic) => subscribe.some((filter) => topicMatches(filter, topic)),
  }
}

/** Who may connect, and with which rights. Without a users file only this machine itself may, without a password. */
export class Access {
  readonly #users: ReadonlyMap<string, UserEntry>
  readonly #anonymousLoopback: boolean
  readonly #secret = randomBytes(32)
  /** Passwords that were right, as keyed digests: a device that reconnects often costs no scrypt each time. */
  readonly #remembered = new Map<string, true>()
  readonly #waiting: (() => void)[] = []
  #checking = 0

  constructor(users: ReadonlyMap<string, UserEntry>, anonymousLoopback: boolean) {
    this.#users = users
    this.#anonymousLoopback = anonymousLoopback
  }

  get hasUsers(): boolean {
    return this.#users.size > 0
  }

  /** @returns the rights, or undefined when the connection is refused. */
  async rights(
    remoteAddress: string | undefined,
    clientId: string,
    user: string | undefined,
    password: Buffer | undefined,
    certificateUser: string | undefined,
  ): Promise<Rights | undefined> {
    if (certificateUser !== undefined) {
      const entry = this.#users.get(certificateUser)
      return entry === undefined ? undefined : rightsOf(certificateUser, clientId, entry)
    }
    if (user === undefined) {
      return this.#anonymousLoopback && isLoopback(remoteAddress) ? everything(undefined) : undefined
    }
    const entry = this.#users.get(user)
    if (password === undefined || !(await this.#matches(user, password, entry))) return undefined
    return entry === undefined ? undefined : rightsOf(user, clientId, entry)
  }

  async #matches(user: string, password: Buffer, entry: UserEntry | undefined): Promise<boolean> {
    const digest = createHmac('sha256', this.#secret)
      .update(JSON.stringify([user, entry?.password ?? '']))
      .update(password)
      .digest('base64')
    if (this.#remembered.has(digest)) return true
    if (this.#waiting.length >= MAX_QUEUED) return false
    if (this.#checking >= MAX_CHECKING) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#checking++
    try {
      // An unknown name takes as long as a wrong password.
      const right = await verifyPassword(password, entry?.password ?? NOBODY)
      if (!right || entry === undefined) return false
      if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear()
      this.#remembered.set(digest, true)
      return true
    } finally {
      this.#checking--
      this.#waiting.shift()?.()
    }
  }
}

const NOBODY = `scrypt$${SCRYPT.N}$${SCRYPT.r}$${SCRYPT.p}$${Buffer.alloc(16).toString('base64')}$${Buffer.alloc(HASH_BYTES).toString('base64')}`

export function isLoopback(address: string | undefined): boolean {
  if (address === undefined) return false
  const plain = address.replace(/^::ffff:/, '')
  return plain === '::1' || (isIP(plain) === 4 && plain.startsWith('127.'))
}

const derive = (password: Buffer, salt: Buffer, options: ScryptOptions): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    scrypt(password, salt, HASH_BYTES, options, (error, key) => (error === null ? resolve(key) : reject(error)))
  })

export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  const hash = await derive(Buffer.from(password), salt, SCRYPT)
  return ['scrypt', SCRYPT.N, SCRYPT.r, SCRYPT.p, salt.toString('base64'), hash.toString('base64')].join('$')
}

async function verifyPassword(password: Buffer, stored: string): Promise<boolean> {
  const [, cost, blockSize, parallel, salt = '', hash = ''] = stored.split('$')
  const options = { N: Number(cost), r: Number(blockSize), p: Number(parallel) }
  const wanted = Buffer.from(hash, 'base64')
  const given = await derive(password, Buffer.from(salt, 'base64'), options)
  return wanted.length === given.length && timingSafeEqual(wanted, given)
}

/** `scrypt` with parameters that a check can afford: a file must not be able to make the gateway work for minutes. */
const HASH_PATTERN = /^scrypt\$(1024|2048|4096|8192|16384)\$8\$[1-4]\$[A-Za-z0-9+/=]{8,64}\$[A-Za-z0-9+/=]{44}$/

/** @throws SluiceError `SLUICE_BROKER_USERS` when the file is there and cannot be used. */
export function readUsers(path: string): ReadonlyMap<string, UserEntry> {
  const users = new Map<string, UserEntry>()
  if (!existsSync(path)) return users
  let parsed: unknown
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw badUsers(path, `it is no JSON: ${toSluiceError(cause).message}`, cause)
  }
  if (!isRecord(parsed) || !isRecord(parsed['users'])) throw badUsers(path, "it has no object 'users'")
  for (const [name, entry] of Object.entries(parsed['users'])) users.set(name, checkEntry(path, name, entry))
  return users
}

/** Sets one user's password and keeps everything else of the file. */
export async function setPassword(
  path: string,
  name: string,
  password: string,
  rights: Omit<UserEntry, 'password'>,
): Promise<void> {
  const users = new Map(readUsers(path))
  const entry = { ...users.get(name), ...rights, password: await hashPassword(password) }
  users.set(name, checkEntry(path, name, entry))
  const temporary = `${path}.${process.pid}`
  writeFileSync(temporary, `${JSON.stringify({ users: Object.fromEntries(users) }, null, 2)}\n`, { mode: 0o600 })
  renameSync(temporary, path)
}

function checkEntry(path: string, name: string, entry: unknown): UserEntry {
  if (!isRecord(entry)) throw badUsers(path, `user '${name}' is no object`)
  const { password, publish, subscribe, devices } = entry
  if (typeof password !== 'string' || !HASH_PATTERN.test(password)) {
    throw badUsers(path, `the password of user '${name}' is no scrypt hash`)
  }
  const list = (key: string, value: unknown): readonly string[] => {
    if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
      throw badUsers(path, `'${key}' of user '${name}' is no list of texts`)
    }
    return value
  }
  const filters = (key: string, value: unknown) => {
    for (const filter of list(key, value)) {
      const problem = filterProblem(filter)
      if (problem !== undefined) throw badUsers(path, `'${key}' of user '${name}' has ${filter}: ${problem}`)
    }
    return list(key, value)
  }
  for (const device of devices === undefined ? [] : list('devices', devices)) {
    if (!/^[a-z0-9-]+\/(\*|[a-z0-9.-]+)$/.test(device)) {
      throw badUsers(path, `'devices' of user '${name}' has ${device}, which is no namespace/name`)
    }
  }
  return {
    password,
    ...(publish === undefined ? {} : { publish: filters('publish', publish) }),
    ...(subscribe === undefined ? {} : { subscribe: filters('subscribe', subscribe) }),
    ...(devices === undefined ? {} : { devices: list('devices', devices) }),
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function badUsers(path: string, what: string, cause?: unknown): SluiceError {
  return new SluiceError('SLUICE_BROKER_USERS', `The MQTT users file ${path} cannot be used: ${what}`, {
    hint: 'Write {"users": {"name": {"password": "scrypt$...", "subscribe": ["home/#"], "publish": []}}}; `sluice mqtt passwd` makes the hashes.',
    cause,
  })
}
