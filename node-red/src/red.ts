/**
 * What these nodes use of Node-RED's runtime API (versions 4 and 5), and no more of it.
 * Source: the pages "Creating nodes: JavaScript file" and "Configuration nodes" of Node-RED's documentation.
 */
export interface NodeStatus {
  readonly fill?: 'red' | 'green' | 'yellow' | 'blue' | 'grey'
  readonly shape?: 'ring' | 'dot'
  readonly text?: string
}

/** A message: whatever a flow makes of it. */
export interface Message {
  payload?: unknown
  topic?: string
  [key: string]: unknown
}

export type Send = (message: Message | readonly (Message | null)[]) => void
export type Done = (error?: Error) => void

export interface RedNode {
  readonly id: string
  readonly type: string
  readonly name?: string
  credentials?: Readonly<Record<string, string | undefined>>
  on(event: 'input', listener: (message: Message, send: Send, done: Done) => void): void
  on(event: 'close', listener: (removed: boolean, done: () => void) => void): void
  send: Send
  status(status: NodeStatus): void
  error(error: string | Error, message?: Message): void
  warn(text: string): void
  log(text: string): void
}

/** Properties a node was configured with in the editor. Everything in it may have been edited by hand in a flow file. */
export interface NodeConfig {
  readonly id: string
  readonly name?: string
  readonly gateway?: string
  readonly [key: string]: unknown
}

interface Request {
  readonly params: Readonly<Record<string, string | undefined>>
}

interface Response {
  json(body: unknown): void
  status(code: number): Response
}

type Middleware = (request: Request, response: Response, next: () => void) => void

export interface Red {
  readonly nodes: {
    createNode(node: RedNode, config: NodeConfig): void
    registerType(
      type: string,
      // Node-RED calls it as a constructor: `this` is the node.
      make: (this: RedNode, config: NodeConfig) => void,
      options?: { readonly credentials?: Readonly<Record<string, { readonly type: 'text' | 'password' }>> },
    ): void
    getNode(id: string): RedNode | null
  }
  readonly httpAdmin: {
    get(path: string, ...handlers: ((request: Request, response: Response, next: () => void) => void)[]): void
  }
  readonly auth: { needsPermission(permission: string): Middleware }
  readonly settings: { readonly userDir?: string }
  /** Text in the language of the runtime. */
  _(key: string, values?: Readonly<Record<string, unknown>>): string
}
