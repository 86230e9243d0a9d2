/** English words that say how a sentence is built rather than what it is about; and what is left of them when an apostrophe cuts them. */
export const ENGLISH_STOP_WORDS = `
a about above across after afterwards again against ago all almost alone along already also although always am among amongst an and another any
anybody anyhow anyone anything anyway anywhere are aren around as aside at away
back be became because become becomes becoming been before beforehand behind being below beside besides between beyond both but by
came can cannot come comes coming could couldn
did didn do does doesn doing don done down during
each either else elsewhere enough etc even ever every everybody everyone everything everywhere except
few first five following for former formerly four from further furthermore
gave get gets getting give given gives go goes going gone got
had hadn has hasn have haven having he hence her here hereby herein hers herself him himself his hither how however
if in indeed inside instead into is isn it its itself
just keep keeps kept last later latter latterly least less let like likely ll
made mainly make makes making many may maybe me meanwhile might mightn mine more moreover most mostly much must mustn my myself
namely near nearly need needn neither never nevertheless next nine no nobody none nonetheless noone nor not nothing now nowhere
of off often oh ok on once one ones only onto or other others otherwise ought our ours ourselves out outside over own
per perhaps put quite rather re really
said same saw say saying says see seem seemed seeming seems seen several shall shan she should shouldn since six so some somebody somehow someone
something sometime sometimes somewhere still such
take taken takes taking ten than that the their theirs them themselves then thence there thereafter thereby therefore therein thereupon these they
third this those though three through throughout thru thus till to together too took toward towards two
under unless unlike until unto up upon us use used uses using usually
various ve very via was wasn way we well went were weren what whatever when whence whenever where whereafter whereas whereby wherein whereupon
wherever whether which whichever while whither who whoever whole whom whose why will with within without won would wouldn
yes yet you your yours yourself yourselves
`.trim().replace(/\s+/g, ' ')
