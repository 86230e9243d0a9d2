import type { Argv, CommandModule, InferredOptionTypes, Options } from 'yargs'
import { closest, distance } from 'fastest-levenshtein'
import { EXIT_CODES, NichelmError } from '../base/errors.js'

/** Aborted by SIGINT or SIGTERM: what runs saves and throws INTERRUPTED. */
export const interruption = new AbortController()

export type OptionTable = Record<string, Options>

export interface CommandDefinition<Table extends OptionTable> {
  /** As yargs reads it: verb, positional arguments. */
  command: string
  describe: string
  /** Each positional argument of `command`. */
  positionals?: Record<string, { describe: string }>
  options: Table
  /** Command lines that work, each with what it does. */
  examples: readonly (readonly [line: string, does: string])[]
  run(args: InferredOptionTypes<Table> & Record<string, unknown>): Promise<void> | void
}

/** A verb of the command line: options, at least one example, exit codes. */
export function define<const Table extends OptionTable>(definition: CommandDefinition<Table>): CommandModule {
  return {
    command: definition.command,
    describe: definition.describe,
    builder: (argv: Argv) => {
      for (const [name, { describe }] of Object.entries(definition.positionals ?? {})) argv.positional(name, { type: 'string', demandOption: true, describe })
      argv.options(definition.options)
      for (const [line, does] of definition.examples) argv.example(`$0 ${line}`, does)
      return argv.demandCommand(0, 0).strict()
    },
    handler: args => definition.run(args as InferredOptionTypes<Table> & Record<string, unknown>),
  }
}

/** A verb that only holds others. */
export const group = (name: string, describe: string, commands: readonly CommandModule[]): CommandModule => ({
  command: name,
  describe,
  builder: (argv: Argv) => {
    for (const command of commands) argv.command(command)
    return argv.strict().demandCommand(1, 1, `${name}: which one? ${verbs(commands).join(', ')}`)
  },
  handler: () => {},
})

export const verbs = (commands: readonly CommandModule[]): string[] =>
  commands.map(({ command }) => (Array.isArray(command) ? String(command[0]) : String(command)).split(' ')[0]!)

export const jsonOption = { json: { type: 'boolean', default: false, describe: 'Print results as JSON; progress goes to standard error' } } as const satisfies OptionTable

export const deviceOptions = {
  device: { type: 'string', choices: ['cpu'], default: 'cpu', describe: 'Device to compute on' },
  threads: { type: 'number', default: 0, describe: 'Threads; 0: all cores' },
  precision: { type: 'string', choices: ['f32', 'bf16'], default: 'bf16', describe: 'Precision of the computation' },
} as const satisfies OptionTable

/** Prints a result: as JSON on one line, or as text. */
export function print(json: boolean, result: unknown, text: () => string): void {
  process.stdout.write(json ? `${JSON.stringify(result)}\n` : `${text().trimEnd()}\n`)
}

/** One line of progress, on standard error. */
export const progress = (line: string): void => { process.stderr.write(`${line}\n`) }

/**
 * Turns what yargs says about a bad command line into a USAGE error that names the nearest option or command.
 * `args`: the command line; `known`: what could have stood there.
 */
export function usageError(message: string, args: readonly string[], known: { options: readonly string[]; commands: readonly string[] }): NichelmError {
  const unknown = /^Unknown (?:argument|command)s?: (.+)$/.exec(message)?.[1]
  if (unknown === undefined) return new NichelmError('USAGE', lower(message), { fix: 'See --help.' })
  const names = unknown.split(', ')
  const option = args.map(arg => arg.split('=')[0]!).find(arg => arg.startsWith('-') && names.includes(arg.replace(/^-+/, '')))
  const name = option ?? names[0]!, among = option ? known.options : known.commands
  const near = among.length > 0 ? closest(name, [...among]) : undefined
  const kind = option ? 'an option' : known.commands.length > 0 ? 'a command' : 'an argument'
  const list = among.length > 0 ? `Known here: ${among.join(', ')}.` : 'See --help.'
  return new NichelmError('USAGE', `${name} is not ${kind} here`, { fix: near && distance(name, near) <= Math.max(2, name.length / 2.5) ? `Did you mean ${near}?` : list })
}

export const EPILOGUE = `Exit codes: 0 done; ${EXIT_CODES.INTERNAL} a defect of nichelm; ${EXIT_CODES.USAGE} a wrong option or recipe; ${EXIT_CODES.INPUT} an input that is missing or cannot be used; ${EXIT_CODES.CORRUPT} damaged data; ${EXIT_CODES.RESOURCE} not enough memory or disk; ${EXIT_CODES.DEVICE} no such device; ${EXIT_CODES.INTERRUPTED} interrupted, after saving.`

const lower = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)
