/**
 * MQTT topics and filters (MQTT 3.1.1, section 4.7): `+` stands for one level, `#` for the rest including nothing, and
 * neither reaches topics that begin with `$` from the first level.
 */

/** MQTT 3.1.1, section 4.7.3. */
const MAX_TOPIC_BYTES = 65_535

/** Why `topic` cannot be published to, or undefined. */
export function topicProblem(topic: string): string | undefined {
  if (/[+#]/.test(topic)) return 'a topic has no wildcards'
  return commonProblem(topic)
}

/** Why `filter` cannot be subscribed to, or undefined. */
export function filterProblem(filter: string): string | undefined {
  const levels = filter.split('/')
  const wrong = levels.findIndex(
    (level, index) =>
      (level.includes('+') && level !== '+') || (level.includes('#') && (level !== '#' || index !== levels.length - 1)),
  )
  if (wrong >= 0) return `'${levels[wrong]}' is no whole level: + takes a level of its own, # the last one`
  return commonProblem(filter)
}

function commonProblem(text: string): string | undefined {
  if (text === '') return 'it is empty'
  if (text.includes('\u0000')) return 'it contains the character U+0000'
  if (Buffer.byteLength(text) > MAX_TOPIC_BYTES) return `it has more than ${MAX_TOPIC_BYTES} bytes`
  return undefined
}

export function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.includes('#')
}

export function topicMatches(filter: string, topic: string): boolean {
  if (topic.startsWith('$') && /^[+#]/.test(filter)) return false
  const wanted = filter.split('/')
  const given = topic.split('/')
  for (const [index, level] of wanted.entries()) {
    if (level === '#') return true
    if (index >= given.length || (level !== '+' && level !== given[index])) return false
  }
  return wanted.length === given.length
}

/** Whether every topic that `narrow` matches is matched by `wide` too. */
export function filterCovers(wide: string, narrow: string): boolean {
  if (narrow.startsWith('$') && /^[+#]/.test(wide)) return false
  const wanted = wide.split('/')
  const given = narrow.split('/')
  for (const [index, level] of wanted.entries()) {
    if (level === '#') return true
    const other = given[index]
    if (other === undefined || other === '#' || (level !== '+' && level !== other)) return false
  }
  return wanted.length === given.length
}

interface Node<T> {
  readonly children: Map<string, Node<T>>
  /** Replaced and never changed, so that whoever walks through a match is not disturbed. */
  values: readonly T[]
}

const newNode = <T>(): Node<T> => ({ children: new Map(), values: [] })

/** Topics seen most are answered from memory; a hostile publisher may use as many others as it likes. */
const MAX_REMEMBERED = 4096
const MAX_REMEMBERED_LENGTH = 256

/** Values under topic filters; finding those of a topic costs its levels, whatever the number of filters. */
export class TopicTrie<T> {
  readonly #root: Node<T> = newNode()
  readonly #remembered = new Map<string, readonly T[]>()
  #size = 0

  /** Filters with a value, each counted as often as it was added. */
  get size(): number {
    return this.#size
  }

  add(filter: string, value: T): void {
    let node = this.#root
    for (const level of filter.split('/')) {
      let child = node.children.get(level)
      if (child === undefined) node.children.set(level, (child = newNode()))
      node = child
    }
    node.values = [...node.values, value]
    this.#size++
    this.#remembered.clear()
  }

  /** Removes `value` once; false when it is not there. */
  remove(filter: string, value: T): boolean {
    const path: (readonly [parent: Node<T>, level: string])[] = []
    let node = this.#root
    for (const level of filter.split('/')) {
      const child = node.children.get(level)
      if (child === undefined) return false
      path.push([node, level])
      node = child
    }
    const index = node.values.indexOf(value)
    if (index < 0) return false
    node.values = node.values.toSpliced(index, 1)
    this.#size--
    this.#remembered.clear()
    for (const [parent, level] of path.reverse()) {
      const child = parent.children.get(level)!
      if (child.values.length > 0 || child.children.size > 0) break
      parent.children.delete(level)
    }
    return true
  }

  /** The values of every filter that matches; a value added under two of them comes twice. */
  match(topic: string): readonly T[] {
    const known = this.#remembered.get(topic)
    if (known !== undefined) return known
    const found: T[] = []
    collect(this.#root, topic.split('/'), 0, topic.startsWith('$'), found)
    if (topic.length > MAX_REMEMBERED_LENGTH) return found
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear()
    this.#remembered.set(topic, found)
    return found
  }
}

function collect<T>(node: Node<T>, levels: readonly string[], depth: number, reserved: boolean, found: T[]): void {
  const wild = depth > 0 || !reserved
  if (wild) {
    const rest = node.children.get('#')
    if (rest !== undefined) for (const value of rest.values) found.push(value)
  }
  if (depth === levels.length) {
    for (const value of node.values) found.push(value)
    return
  }
  const exact = node.children.get(levels[depth]!)
  if (exact !== undefined) collect(exact, levels, depth + 1, reserved, found)
  const any = wild ? node.children.get('+') : undefined
  if (any !== undefined) collect(any, levels, depth + 1, reserved, found)
}
