/** The parts of Node-RED's test helper that our tests use. */
declare module 'node-red-node-test-helper' {
  interface TestedNode {
    once(event: 'input', listener: (message: Record<string, unknown>) => void): void
    receive(message: Readonly<Record<string, unknown>>): void
    /** A spy of the helper, as `sinon` makes them. */
    readonly status: { readonly firstCall: { readonly args: readonly unknown[] } }
  }
  interface Helper {
    init(nodeRed: string, settings?: Readonly<Record<string, unknown>>): void
    startServer(done: () => void): void
    stopServer(done: () => void): void
    load(nodes: readonly unknown[], flow: readonly Readonly<Record<string, unknown>>[]): Promise<void>
    unload(): Promise<void>
    getNode(id: string): TestedNode
  }
  const helper: Helper
  export = helper
}
