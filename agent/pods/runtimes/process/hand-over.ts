import { lchown, lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Gives a volume to the user that a pod runs as: what it holds may be of one before, since a sandbox that is made anew, or the next
 * pod that names a claim, is another user outside. A volume whose top is of this user already is not looked at again. Nothing else
 * may be writing in it: links are never followed, but what is being exchanged cannot be seen.
 */
export async function handOver(folder: string, user: number, signal: AbortSignal): Promise<void> {
  if ((await lstat(folder)).uid === user) return
  const waiting = [folder]
  const folders: string[] = []
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    signal.throwIfAborted()
    const stat = await lstat(at)
    if (stat.isDirectory()) {
      folders.push(at)
      for (const name of await readdir(at)) waiting.push(join(at, name))
    } else if (stat.uid !== user) await lchown(at, user, user)
  }
  // The top last: what is interrupted is begun anew.
  for (const each of folders.reverse()) await lchown(each, user, user)
}
