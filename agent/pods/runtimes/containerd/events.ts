import type { EngineWords } from '../engine-events.ts'
import { type Channel, isGone } from './channel.ts'
import { CONTAINER, CONTAINERD, CRI, SANDBOX_READY, TaskEvent } from './cri.ts'

/** One of containerd's own events: the interface for pods has none in this version. */
export type TaskTold = ReturnType<typeof CONTAINERD.subscribe.response.decode>

/** How containerd tells of tasks that ended or ran out of memory. */
export const taskWords = (channel: Channel, namespace: string): EngineWords<TaskTold> => ({
  listen: (signal) => {
    const filters = [`namespace==${namespace},topic~="^/tasks/(exit|oom)"`]
    return channel.listen(CONTAINERD.subscribe, { filters }, signal)
  },
  // Over the same connection, so it has the subscription when it has answered this.
  ask: (signal) => channel.call(CRI.version, {}, { signal }),
  ended({ topic, event }) {
    const { containerId, id } = TaskEvent.decode(event?.value ?? Buffer.alloc(0))
    return topic === '/tasks/exit' && id === containerId ? id : undefined
  },
  /** The interface for pods learns of an end from the same event, and may be later than we are. */
  async running(id, signal) {
    try {
      const { status } = await channel.call(CRI.containerStatus, { id }, { signal })
      return status !== undefined && CONTAINER[status.state] === 'running'
    } catch (error) {
      if (!isGone(error)) throw error
    }
    const { status } = await channel.call(CRI.sandboxStatus, { id }, { signal })
    return status?.state === SANDBOX_READY
  },
})
